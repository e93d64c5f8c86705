/** The CUDA kernels without a GPU: see cuda/README.md for what this proves and what it does not. */
import test from 'ava'
import { build, buildPtx, missing, missingPtx, runGroup } from './program.js'

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

/** A group of cases of the program as one test that names each case that fails. */
function group(title: string, name: string, least: number, usesPtx: boolean): void {
  const lacking = usesPtx ? missingPtx : missing
  if (lacking) {
    test.skip(`${title} (${lacking})`, () => {})
    return
  }
  test(title, async t => {
    t.timeout(30 * 60_000, 'shared machines are slow')
    const folder = usesPtx ? await thePtx() : undefined
    const { cases, comments } = await runGroup(await theProgram(), name, folder)
    for (const comment of comments) t.log(comment)
    t.log(`${cases.length} cases`)
    t.true(cases.length >= least, `${cases.length} cases`)
    for (const { ok, name: of } of cases) t.true(ok, of)
  })
}

group('the emulator reports planted bugs, and every barrier that is taken away', 'emulator', 18, false)
group('the PTX interpreter names faults and computes as the manual says', 'ptx', 35, false)
for (const [name, fibers, onPtx] of [
  ['attention', 160, 100],
  ['linear', 65, 55],
  ['rows', 80, 80],
  ['conv', 34, 34],
  ['cosine', 35, 30],
] as const) {
  group(`${name}: every kernel against reference, fiber by fiber`, name, fibers, false)
  group(`${name}: the PTX that nvcc emits against reference`, `${name}-ptx`, onPtx, true)
}
group('mutants of the inline assembly are caught in the PTX', 'ptx-mutants', 14, true)
