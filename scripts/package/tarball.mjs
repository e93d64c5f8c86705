// The sizes of the tarball, and the results of package checkers.
import { join } from 'node:path'
import { check, expect, run, tool } from './support.mjs'

/** The largest allowed size of the files without the embedded model, in bytes. */
const MOST = 8e6

export async function testPack({ tarball, manifest }) {
  await check('the package is small', () => {
    const bytes = pattern =>
      manifest.files.filter(f => pattern.test(f.path)).reduce((sum, f) => sum + f.size, 0)
    const model = bytes(/^models\/icon-clip\/model\.safetensors$/)
    const rest = manifest.unpackedSize - model
    expect(rest < MOST, `${rest} bytes without the model, more than ${MOST}`)
    const parts = {
      'prebuilt x64': /linux-x64\//,
      'prebuilt arm64': /linux-arm64\//,
      lib: /^dist\//,
      'kernels for GPUs': /^cuda\/images\//,
      sources: /^(native|cuda\/[^/]*$)/,
    }
    const listed = Object.entries(parts).map(([name, pattern]) => `${name} ${bytes(pattern)}`)
    const share = ((100 * model) / manifest.unpackedSize).toFixed(1)
    return `${manifest.size} bytes packed, ${manifest.unpackedSize} unpacked, of which the embedded model ${model} (${share} %), the rest ${rest}: ${listed.join(', ')}`
  })
  await check('it holds no build description that package managers act on', () => {
    const names = manifest.files.map(f => f.path)
    expect(!names.includes('binding.gyp'), 'binding.gyp is in it')
    expect(
      names.includes('CMakeLists.txt') && names.includes('native/backend.h'),
      'the sources are not in it',
    )
    for (const name of ['images.json', 'machine_code.br', 'ptx.br'])
      expect(names.includes(`cuda/images/${name}`), `cuda/images/${name} is not in it`)
  })
  await check('publint', async () => {
    const at = await tool(['publint@0.3.25'])
    await run(join(at, 'node_modules/.bin/publint'), ['--strict', tarball], { cwd: at })
  })
  await check('are the types wrong', async () => {
    const at = await tool(['@arethetypeswrong/cli@0.18.5'])
    const flags = ['--no-emoji', '--no-color', '--format', 'ascii']
    await run(join(at, 'node_modules/.bin/attw'), [tarball, ...flags], { cwd: at })
  })
}
