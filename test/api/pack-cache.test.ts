/** packCache: the second start maps what the first one packed, with the same bits; a file that does not fit is replaced. */

import { spawn } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { type LoadOptions, load } from '../../lib/index.js'
import { binding } from '../../lib/native/addon.js'
import { type TinyShape, writeTinyModel } from '../helpers/tiny-model.js'
import { bits, exampleImages, red } from './helpers.js'

const root = mkdtempSync(join(tmpdir(), 'clip-native-packed-'))
test.after.always(() => rmSync(root, { recursive: true, force: true }))

const shape: Partial<TinyShape> = { vocabSize: 49408 }
let made = 0
/** A model and a cache folder of their own. */
async function fresh(): Promise<{ model: string; cacheDir: string }> {
  const folder = join(root, String(made++))
  mkdirSync(folder)
  return { model: await writeTinyModel(join(folder, 'model'), shape), cacheDir: join(folder, 'cache') }
}
const packed = (cacheDir: string) =>
  readdirSync(join(cacheDir, 'packed')).map(f => join(cacheDir, 'packed', f))

async function run(model: string | undefined, options: LoadOptions) {
  await using clip = await load(model, { threads: 2, ...options })
  const parts: Buffer[] = []
  if (clip.info.towers.includes('image'))
    parts.push(bits((await clip.encodeImage(model ? [red] : exampleImages)).data))
  if (clip.info.towers.includes('text'))
    parts.push(bits((await clip.encodeText(['a dog', 'two red cats'])).data))
  return { use: clip.info.packCache, bits: Buffer.concat(parts).toString('hex') }
}

const backends = binding()
  .backends()
  .filter(b => b.available && b.device !== 'cuda')

for (const { name, device, dtypes } of backends)
  for (const dtype of dtypes)
    test.serial(`a model from the pack cache has the same bits: ${name} ${dtype}`, async t => {
      const { model, cacheDir } = await fresh()
      const before = process.env.CLIP_NATIVE_BACKEND
      process.env.CLIP_NATIVE_BACKEND = name
      try {
        const options: LoadOptions = {
          device: device === 'reference' ? 'reference' : 'auto',
          dtype,
          cacheDir,
        }
        const plain = await run(model, options)
        t.is(plain.use, 'off')
        t.false(existsSync(cacheDir))
        const first = await run(model, { ...options, packCache: true })
        const second = await run(model, { ...options, packCache: true, threads: 1 })
        t.deepEqual([first.use, second.use], ['written', 'mapped'])
        t.is(first.bits, plain.bits)
        t.is(second.bits, plain.bits)
        const [file, ...others] = packed(cacheDir)
        t.deepEqual(others, [])
        if (process.platform !== 'win32') t.is(statSync(file!).mode & 0o777, 0o600)
      } finally {
        if (before === undefined) delete process.env.CLIP_NATIVE_BACKEND
        else process.env.CLIP_NATIVE_BACKEND = before
      }
    })

test('each choice of towers and dtype has its own file', async t => {
  const cacheDir = join(root, 'embedded')
  const plain = await run(undefined, {})
  for (const use of ['written', 'mapped'])
    t.deepEqual(await run(undefined, { packCache: true, cacheDir }), {
      use,
      bits: plain.bits,
    } as typeof plain)
  t.is((await run(undefined, { packCache: true, cacheDir, towers: ['image'] })).use, 'written')
  t.is((await run(undefined, { packCache: true, cacheDir, towers: ['text'] })).use, 'written')
  t.is((await run(undefined, { packCache: true, cacheDir, dtype: 'bfloat16' })).use, 'written')
  t.is((await run(undefined, { packCache: true, cacheDir })).use, 'mapped')
  t.is(packed(cacheDir).length, 4)
})

test('the file is written below CLIP_NATIVE_CACHE; invalid options are refused', async t => {
  await t.throwsAsync(load(undefined, { packCache: 1 as unknown as boolean }), {
    instanceOf: TypeError,
    message: /packCache/,
  })
  await t.throwsAsync(load(undefined, { packCache: true, cacheDir: '' }), {
    instanceOf: TypeError,
    message: /cacheDir/,
  })
  const cache = join(root, 'environment')
  const code = `
    import { load } from ${JSON.stringify(pathToFileURL(join(packageRoot, 'dist/lib/index.js')).href)}
    console.log((await load(undefined, { packCache: true })).info.packCache)`
  const out = await child(code, { CLIP_NATIVE_CACHE: cache })
  t.is(out.text, 'written\n')
  t.is(packed(cache).length, 1)
})

/** What a module prints. */
function child(code: string, env: NodeJS.ProcessEnv = {}): Promise<{ code: number | null; text: string }> {
  return new Promise((resolve, reject) => {
    const process_ = spawn(process.execPath, ['--input-type=module', '-e', code], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let text = ''
    process_.stdout.on('data', piece => {
      text += piece
    })
    process_.on('error', reject).on('close', code => resolve({ code, text }))
  })
}

/** Flips one bit. */
function flip(file: string, at: number): void {
  const bytes = readFileSync(file)
  bytes[at]! ^= 1
  writeFileSync(file, bytes)
}

const harms: [name: string, harm: (file: string, size: number) => void][] = [
  ['empty', file => truncateSync(file, 0)],
  ['shorter than its header', file => truncateSync(file, 100)],
  ['without its weights', file => truncateSync(file, 4096)],
  ['one byte short', (file, size) => truncateSync(file, size - 1)],
  ['one byte long', (file, size) => truncateSync(file, size + 1)],
  ['another magic', file => flip(file, 0)],
  ['another byte order', file => flip(file, 16)],
  ['another size inside', file => flip(file, 24)],
  ['another checksum', file => flip(file, 32)],
  ['another key', file => flip(file, 45)],
  ['text behind the key', file => flip(file, 4000)],
  ['another checksum of the header', file => flip(file, 4095)],
  ['a bit of the first weight', file => flip(file, 4096)],
  ['a bit in the middle', (file, size) => flip(file, 4096 + ((size - 4096) >> 1))],
  ['a bit of the last bytes', (file, size) => flip(file, size - 1)],
  ['zeros, as after a power cut', (file, size) => writeFileSync(file, Buffer.alloc(size))],
  [
    'two pieces exchanged',
    file => {
      const bytes = readFileSync(file)
      const a = Buffer.from(bytes.subarray(4096, 8192))
      bytes.copyWithin(4096, 4096 + 2 ** 20, 8192 + 2 ** 20)
      a.copy(bytes, 4096 + 2 ** 20)
      writeFileSync(file, bytes)
    },
  ],
]
if (process.platform !== 'win32')
  harms.push(
    ['others may write to it', file => chmodSync(file, 0o620)],
    [
      'a link to it',
      file => {
        renameSync(file, `${file}.elsewhere`)
        symlinkSync(`${file}.elsewhere`, file)
      },
    ],
  )

for (const [name, harm] of harms)
  test.serial(`a file that does not match is replaced: ${name}`, async t => {
    const { model, cacheDir } = await fresh()
    const options = { packCache: true, cacheDir }
    const plain = await run(model, options)
    const [file] = packed(cacheDir)
    const whole = readFileSync(file!)
    t.true(whole.length > 4096 + 2 ** 20 + 4096)
    harm(file!, whole.length)
    t.deepEqual(await run(model, options), { use: 'written', bits: plain.bits })
    t.true(readFileSync(file!).equals(whole))
    t.deepEqual(await run(model, options), { use: 'mapped', bits: plain.bits })
  })

test('a changed checkpoint is packed again, into the same file', async t => {
  const { model, cacheDir } = await fresh()
  const options = { packCache: true, cacheDir }
  const plain = await run(model, options)
  await writeTinyModel(model, shape, 2)
  const other = await run(model, options)
  t.is(other.use, 'written')
  t.not(other.bits, plain.bits)
  t.is((await run(model, options)).use, 'mapped')
  // The same size and samples, another time.
  const weights = readdirSync(model).find(f => f.endsWith('.safetensors'))!
  utimesSync(join(model, weights), 1, 1)
  t.is((await run(model, options)).use, 'written')
  t.is(packed(cacheDir).length, 1)
})

test('a file of another checkpoint under the same name is not used', async t => {
  const [a, b] = [await fresh(), await fresh()]
  await writeTinyModel(b.model, shape, 3)
  await run(a.model, { packCache: true, cacheDir: a.cacheDir })
  const own = await run(b.model, { packCache: true, cacheDir: b.cacheDir })
  copyFileSync(packed(a.cacheDir)[0]!, packed(b.cacheDir)[0]!)
  t.deepEqual(await run(b.model, { packCache: true, cacheDir: b.cacheDir }), {
    use: 'written',
    bits: own.bits,
  })
})

test('a mapped file may be replaced and unlinked under a running model', async t => {
  const { model, cacheDir } = await fresh()
  await run(model, { packCache: true, cacheDir })
  await using clip = await load(model, { packCache: true, cacheDir })
  t.is(clip.info.packCache, 'mapped')
  const before = bits((await clip.encodeText('a dog')).data)
  const [file] = packed(cacheDir)
  linkSync(file!, `${file}.kept`)
  rmSync(file!)
  t.is((await run(model, { packCache: true, cacheDir })).use, 'written')
  t.deepEqual(bits((await clip.encodeText('a dog')).data), before)
})

test('a cache folder that is not a folder is a warning, not a failure', async t => {
  const { model, cacheDir } = await fresh()
  writeFileSync(cacheDir, 'a file in its place')
  const plain = await run(model, {})
  const code = `
    import { load } from ${JSON.stringify(pathToFileURL(join(packageRoot, 'dist/lib/index.js')).href)}
    process.on('warning', w => console.log(w.name, w.code, w.message))
    const clip = await load(${JSON.stringify(model)}, { packCache: true, cacheDir: ${JSON.stringify(cacheDir)} })
    console.log(clip.info.packCache)`
  const out = await child(code)
  t.is(out.code, 0)
  t.regex(out.text, /^failed$/m)
  t.regex(out.text, /^ClipWarning CLIP_PACK_CACHE packCache: .* can't be created: /m)
  t.is(plain.use, 'off')
})

if (process.platform === 'linux')
  test('a full disk causes a warning and leaves no file behind', async t => {
    const { model, cacheDir } = await fresh()
    const code = `
    import { load } from ${JSON.stringify(pathToFileURL(join(packageRoot, 'dist/lib/index.js')).href)}
    process.on('warning', w => console.log(w.code, w.message))
    process.on('SIGXFSZ', () => {})
    const clip = await load(${JSON.stringify(model)}, { packCache: true, cacheDir: ${JSON.stringify(cacheDir)} })
    console.log(clip.info.packCache)`
    // A limit on the size of files stands for a disk that is full: write() fails half way in the same manner.
    const out = await new Promise<string>((resolve, reject) => {
      const shell = spawn(
        'sh',
        ['-c', 'ulimit -f 1024; exec "$0" --input-type=module -e "$1"', process.execPath, code],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      )
      let text = ''
      shell.stdout.on('data', piece => {
        text += piece
      })
      shell.on('error', reject).on('close', () => resolve(text))
    })
    t.regex(out, /^failed$/m)
    t.regex(out, /^CLIP_PACK_CACHE .* can't be written: /m)
    t.deepEqual(packed(cacheDir), [])
  })

test('processes that start at the same time all work, and leave one file', async t => {
  const { model, cacheDir } = await fresh()
  const plain = await run(model, {})
  const code = `
    import { load } from ${JSON.stringify(pathToFileURL(join(packageRoot, 'dist/lib/index.js')).href)}
    const clip = await load(${JSON.stringify(model)}, { packCache: true, cacheDir: ${JSON.stringify(cacheDir)} })
    const e = await clip.encodeText(['a dog', 'two red cats'])
    console.log(clip.info.packCache, Buffer.from(e.data.buffer, e.data.byteOffset, e.data.byteLength).toString('hex'))`
  const all = await Promise.all([child(code), child(code), child(code)])
  for (const { code, text } of all) {
    t.is(code, 0)
    t.regex(text, /^(written|mapped) /)
    t.true(plain.bits.endsWith(text.trim().split(' ')[1]!))
  }
  t.is(packed(cacheDir).length, 1)
  t.is((await run(model, { packCache: true, cacheDir })).use, 'mapped')
})

if (process.platform === 'linux')
  test('a home folder that cannot be written causes one warning for all loads of the process', async t => {
    const { model } = await fresh()
    const code = `
    import { load } from ${JSON.stringify(pathToFileURL(join(packageRoot, 'dist/lib/index.js')).href)}
    process.on('warning', w => console.log(w.code, w.message))
    for (let i = 0; i < 3; i++)
      console.log((await load(${JSON.stringify(model)}, { packCache: true })).info.packCache)`
    const out = await child(code, { HOME: '/proc/nope', XDG_CACHE_HOME: '', CLIP_NATIVE_CACHE: '' })
    t.is(out.code, 0)
    t.is(out.text.match(/^failed$/gm)?.length, 3)
    t.is(out.text.match(/^CLIP_PACK_CACHE packCache: \/proc\/nope\/.* can't be created: /gm)?.length, 1)
  })
