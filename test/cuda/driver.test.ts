/**
 * What lies between the addon and NVIDIA's driver, and the stand-in for that driver; and what of the kernels the
 * addon carries. See cuda/README.md.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test from 'ava'
import { addonPath, packageRoot } from '../../lib/binding.js'
import { all, build, missing, runGroup, sanitize } from './program.js'

const images = join(packageRoot, 'cuda', 'images')
const made = JSON.parse(readFileSync(join(images, 'images.json'), 'utf8'))
const compressed = ['machine_code.lzma', 'ptx.lzma'].map(file => readFileSync(join(images, file)))
const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex')

const scratch = mkdtempSync(join(tmpdir(), 'clip-native-images-'))
test.after.always(() => rmSync(scratch, { recursive: true, force: true }))

let program: Promise<string> | undefined
/** The driver's test program, which lies beside the kernels'. */
async function theProgram(): Promise<string> {
  program ??= build()
  const folder = dirname(await program)
  process.env.CLIP_NATIVE_LIBCUDA = join(folder, 'libcuda-standin.so')
  process.env.CUDA_TESTS_IMAGES = scratch
  return join(folder, 'driver_tests')
}

for (const [title, name, least] of [
  [
    'the driver is opened, devices are told apart, kernels are loaded, and every failure has its name',
    'driver',
    22,
  ],
  // AddressSanitizer has the cases of illegal accesses to itself.
  ['the stand-in is silent about right programs and reports planted misuse', 'standin', sanitize ? 29 : 33],
  ['the compressed kernels are read, and damage does no harm', 'images', 2],
] as const)
  if (missing) test.skip(`${title} (${missing})`, () => {})
  else
    test.serial(title, async t => {
      t.timeout(30 * 60_000, 'the programs may have to be built')
      const { cases } = await runGroup(await theProgram(), name)
      t.true(cases.length >= least, `${cases.length} cases`)
      for (const { ok, name: of } of cases) t.true(ok, of)
      if (name !== 'images') return
      // What the addon would hand to the driver is what nvcc, ptxas and fatbinary made.
      t.is(sha256(readFileSync(join(scratch, 'kernels.ptx'))), made.ptx.sha256)
      t.is(sha256(readFileSync(join(scratch, 'kernels.fatbin'))), made.machineCode.sha256)
    })

test('the kernels that are committed are those of the sources', t => {
  const check = [join(packageRoot, 'scripts/cuda-build.mjs'), '--check', ...(all ? ['--machine-code'] : [])]
  const { status, stdout, stderr } = spawnSync(process.execPath, check, { encoding: 'utf8' })
  t.log(stdout.trim())
  t.is(status, 0, stderr)
})

test('the addon carries the kernels on Linux for x64 and nowhere else', t => {
  const addon = readFileSync(addonPath())
  const carries = process.platform === 'linux' && process.arch === 'x64'
  for (const image of compressed) t.is(addon.includes(image), carries)
})

test('what the package of linux-x64 grows by is below 3 MB unpacked, and the kernels below 2.5 MB', t => {
  const inAddon = compressed.reduce((sum, image) => sum + image.length, 0)
  t.true(inAddon < 2.5e6, `${inAddon} bytes of kernels`)
  const sources = ['cuda', 'native/cuda'].flatMap(folder =>
    readdirSync(join(packageRoot, folder), { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile() && !entry.parentPath.includes('emulator'))
      .map(entry => statSync(join(entry.parentPath, entry.name)).size),
  )
  const inSources = sources.reduce((sum, size) => sum + size, 0)
  t.log(`${inAddon} bytes of kernels in the addon, ${inSources} bytes of files`)
  // 0.5 MB for the code that was compiled into the addon.
  t.true(inAddon + inSources + 0.5e6 < 3e6, `${inAddon} + ${inSources}`)
})
