// What every host must do with the installed package: run by scripts/test-package.mjs under Node, Bun and Deno, in a
// folder where `clip-native` is installed. Prints a line per check, then `N passed, N failed`.
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import cluster from 'node:cluster'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { ClipError, devices, imageFiles, load, version } from 'clip-native'
import { cosineSoftmax } from 'clip-native/kernels'

const require = createRequire(import.meta.url)
const model = join(dirname(require.resolve('clip-native/package.json')), 'models/icon-clip')
const golden = JSON.parse(readFileSync(join(model, 'golden.json'), 'utf8'))
/** Whether the package finds it: pnpm and Plug'n'Play show nobody the dependencies of others. */
const hasSharp = (() => {
  try {
    createRequire(require.resolve('clip-native'))('sharp')
    return true
  } catch {
    return false
  }
})()
let passed = 0
const failures = []
async function check(name, body) {
  try {
    await body()
    passed++
    console.log(`ok ${name}`)
  } catch (error) {
    failures.push(name)
    console.log(`not ok ${name}: ${error?.stack ?? error}`)
  }
}

/** Largest difference from PyTorch's values; NaN when one is NaN. */
function difference(data, base64) {
  const bytes = Buffer.from(base64, 'base64')
  assert.equal(data.length, bytes.length / 4)
  return data.reduce((most, value, i) => {
    const by = Math.abs(value - bytes.readFloatLE(i * 4))
    return by > most || Number.isNaN(by) ? by : most
  }, 0)
}
const checked = (what, data, base64) => {
  const by = difference(data, base64)
  assert.ok(by < 1e-5, `${what} differ by ${by}`)
}

const clip = await load()
console.log(`clip-native ${version} on ${clip.info.backend}, sharp ${hasSharp ? 'installed' : 'absent'}`)
const raw = { data: new Uint8Array(300 * 200 * 3).map((_, i) => i % 251), width: 300, height: 200, channels: 3 }

await check('texts are those of PyTorch', async () =>
  checked('texts', (await clip.encodeText(golden.texts)).data, golden.text),
)
await check('raw pixels are encoded, the same in a batch as alone', async () => {
  const alone = await clip.encodeImage(raw)
  assert.deepEqual(alone.shape, [1, golden.dim])
  const many = await clip.encodeImage([raw, raw, raw])
  for (let i = 0; i < 3; i++) assert.deepEqual([...many.row(i)], [...alone.data])
  const length = Math.hypot(...alone.data)
  assert.ok(Math.abs(length - 1) < 1e-5, `length ${length}`)
})
const files = golden.images.map(name => join(model, 'examples', name))
if (hasSharp) {
  await check('images of files are those of PyTorch', async () =>
    checked('images', (await clip.encodeImage(files)).data, golden.image),
  )
  await check('a classifier finds the dog', async () => {
    const labels = ['dog', 'cat', 'rocket', 'pizza', 'anchor']
    const icons = await clip.classifier(labels, { templates: 'an icon of {}' })
    const [best] = await icons.classify(join(model, 'examples/dog.png'), { topK: 1 })
    assert.equal(best.label, 'dog')
    assert.ok(Math.abs(best.score - 0.873) < 0.001, String(best.score))
  })
} else
  await check('without sharp a file is refused, with the way out', () =>
    assert.rejects(clip.encodeImage(files[0]), error => {
      assert.ok(error instanceof ClipError)
      assert.equal(error.code, 'ERR_CLIP_IMAGE')
      assert.match(error.message, /npm install sharp/)
      assert.match(error.message, /raw pixels/)
      return true
    }),
  )
await check('kernels', async () => {
  const out = await cosineSoftmax({
    queries: new Float32Array([1, 0]),
    classes: new Float32Array([1, 0, 0, 1]),
    rows: 1,
    classCount: 2,
    dim: 2,
    logitScale: 1,
  })
  const e = Math.exp(1) / (Math.exp(1) + 1)
  assert.ok(Math.abs(out[0] - e) < 1e-6 && Math.abs(out[1] + e - 1) < 1e-6, String(out))
})
await check('imageFiles finds every file of folders with more entries than are read at a time', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'clip-native-smoke-'))
  try {
    const names = []
    for (let i = 0; i < 1500; i++) names.push(`${i}.png`)
    for (let i = 0; i < 12; i++)
      for (let j = 0; j < 70; j++) names.push(`${i % 4}/${i}/${j}.jpg`)
    for (const name of names) {
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      writeFileSync(join(folder, name), '')
    }
    const found = []
    for await (const file of imageFiles(folder)) found.push(file.slice(folder.length + 1).replaceAll('\\', '/'))
    assert.deepEqual(found, names.sort())
  } finally {
    rmSync(folder, { recursive: true })
  }
})
await check('devices', () => assert.ok(devices().some(d => d.name === 'cpu' && d.available)))
await check('a wrong option and a wrong file are told', async () => {
  await assert.rejects(clip.encodeText('a', { normalise: true }), TypeError)
  await assert.rejects(load('/nowhere/at/all.safetensors'), error => error instanceof ClipError)
})
await check('an abort rejects with its reason', async () => {
  const reason = new Error('enough')
  const controller = new AbortController()
  const running = clip.encodeText(
    Array.from({ length: 2000 }, (_, i) => `text ${i}`),
    { signal: controller.signal },
  )
  setTimeout(() => controller.abort(reason), 5)
  await assert.rejects(running, error => error === reason)
})
await check('require() gives the same module', () =>
  assert.equal(require('clip-native').ClipError, ClipError),
)

const worker = source =>
  new Worker(
    new URL(`data:text/javascript,${encodeURIComponent(source.replaceAll('clip-native', import.meta.resolve('clip-native')))}`),
  )
await check('three worker threads compute the same', async () => {
  const source = `
    import { parentPort } from 'node:worker_threads'
    import { load } from 'clip-native'
    const clip = await load()
    parentPort.postMessage((await clip.encodeText(['a dog'])).data)
    await clip.dispose()`
  const expected = [...(await clip.encodeText(['a dog'])).data]
  const results = await Promise.all(
    [1, 2, 3].map(
      () =>
        new Promise((resolve, reject) => {
          const w = worker(source)
          w.on('message', resolve)
          w.on('error', reject)
        }),
    ),
  )
  for (const data of results) assert.deepEqual([...data], expected)
})
await check('worker threads terminated in the middle of a call leave the others be', async () => {
  const source = `
    import { parentPort } from 'node:worker_threads'
    import { load } from 'clip-native'
    const clip = await load()
    const texts = Array.from({ length: 500 }, (_, i) => 'text ' + i)
    parentPort.postMessage('on')
    while (true) await clip.encodeText(texts)`
  const before = [...(await clip.encodeText(['a dog'])).data]
  for (let turn = 0; turn < 3; turn++) {
    const workers = [worker(source), worker(source)]
    await Promise.all(
      workers.map(
        w =>
          new Promise((resolve, reject) => {
            w.once('message', resolve)
            w.on('error', reject)
          }),
      ),
    )
    await Promise.all(workers.map(w => w.terminate()))
  }
  assert.deepEqual([...(await clip.encodeText(['a dog'])).data], before)
})

const child = fileURLToPath(new URL('encode-child.mjs', import.meta.url))
const expected = async () => ({
  image: [
    ...(
      await clip.encodeImage({
        data: new Uint8Array(90 * 60 * 3).map((_, i) => i % 253),
        width: 90,
        height: 60,
        channels: 3,
      })
    ).data,
  ],
  text: [...(await clip.encodeText('a dog')).data],
})
/** What a process sent, when it has ended by itself. */
const sentBy = one =>
  new Promise((resolve, reject) => {
    let sent
    one.on('message', message => {
      sent = message
    })
    one.on('error', reject)
    one.on('exit', (code, signal) =>
      code === 0 && sent ? resolve(sent) : reject(new Error(`ended with ${signal ?? code}, sent ${Boolean(sent)}`)),
    )
  })
await check('two forked processes compute the same and end by themselves', async () => {
  const wanted = await expected()
  for (const sent of await Promise.all([fork(child), fork(child)].map(sentBy))) assert.deepEqual(sent, wanted)
})
if (process.versions.deno) console.log('not run: a cluster (Deno has none)')
else
  await check('two workers of a cluster compute the same and end by themselves', async () => {
    cluster.setupPrimary({ exec: child })
    // Listened to from the start: a message that comes before would be lost.
    const answers = [cluster.fork(), cluster.fork()].map(sentBy)
    const [wanted, ...all] = await Promise.all([expected(), ...answers])
    assert.equal(all.length, 2)
    for (const sent of all) assert.deepEqual(sent, wanted)
  })
await check('after dispose() calls are refused', async () => {
  await clip.dispose()
  await assert.rejects(clip.encodeText('a'), { code: 'ERR_CLIP_DISPOSED' })
})
console.log(`${passed} passed, ${failures.length} failed`)
process.exitCode = failures.length > 0 || passed === 0 ? 1 : 0
