/** The CUDA kernels without a GPU: see cuda/README.md for what this proves and what it does not. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { all, build, buildPtx, missing, missingPtx, runGroup, sanitize } from './program.js'

test.before(t => t.timeout(30 * 60_000, 'the test program is built'))

let program: Promise<string> | undefined
let ptx: Promise<string> | undefined
const theProgram = (): Promise<string> => {
  program ??= build()
  return program
}
const thePtx = (): Promise<string> => {
  ptx ??= buildPtx()
  return ptx
}

/** Sanitizers look at the fibers' run; the same kernels as PTX are for the plain build, and for the night. */
const lackingPtx = missingPtx ?? (sanitize && !all ? 'left to the plain build' : undefined)

/** A group of cases of the program as one test that names each case that fails. */
function group(title: string, name: string, least: number, usesPtx: boolean): void {
  const lacking = usesPtx ? lackingPtx : missing
  if (lacking) {
    test.skip(`${title} (${lacking})`, () => {})
    return
  }
  test.serial(title, async t => {
    t.timeout(30 * 60_000, 'shared machines are slow')
    const folder = usesPtx ? await thePtx() : undefined
    const { cases, comments } = await runGroup(await theProgram(), name, folder)
    for (const comment of comments) t.log(comment)
    t.log(`${cases.length} cases`)
    t.true(cases.length >= least, `${cases.length} cases`)
    for (const { ok, name: of } of cases) t.true(ok, of)
  })
}

group('every kernel is listed, and its launch is as in limits.json', 'kernels', 2, false)
group('the emulator reports deliberate bugs and every missing barrier', 'emulator', 19, false)
group("the PTX interpreter names faults and computes as NVIDIA's manual specifies", 'ptx', 50, false)
for (const [name, fibers, onPtx] of [
  ['attention', 370, 140],
  ['linear', 300, 300],
  ['rows', 300, 300],
  ['conv', 100, 100],
] as const) {
  group(`every kernel of ${name} agrees with the reference in the emulator`, name, fibers, false)
  group(`the PTX that nvcc emits for ${name} agrees with the reference`, `${name}-ptx`, onPtx, true)
}
group('bank conflicts of every kernel are within the limits of limits.json', 'banks-ptx', 33, true)
group('mutations of the inline assembly are detected in the PTX', 'ptx-mutants', 14, true)

if (lackingPtx) {
  test.skip(`spills, registers and tensor-core instructions of every kernel are within cuda/limits.json (${lackingPtx})`, () => {})
} else {
  test.serial(
    'spills, registers and tensor-core instructions of every kernel are within cuda/limits.json',
    async t => {
      t.timeout(30 * 60_000, 'ptxas takes its time')
      await thePtx()
      const report = [
        join(packageRoot, 'scripts/cuda-report.mjs'),
        '--check',
        '--arch',
        all ? '80,90,100,120' : '90,120',
      ]
      const { status, stdout, stderr } = spawnSync(process.execPath, report, { encoding: 'utf8' })
      t.log(stdout.trim())
      t.is(status, 0, stderr)
    },
  )
}
