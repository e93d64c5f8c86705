import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { child, lib } from './helpers/child.js'
import { writeTinyModel } from './helpers/tiny-model.js'

const root = await mkdtemp(join(tmpdir(), 'clip-transferred-'))
const model = await writeTinyModel(join(root, 'model'), { layers: 1, contextLength: 16 })
test.after.always(() => rm(root, { recursive: true, force: true }))

/**
 * Ways to take the memory of an array away. What was transferred is collected at once, and its memory goes back to the
 * system. To another length V8 moves the memory or makes it shorter where it lies (Node 21 to 23), or copies it.
 */
const ways: Record<string, string> = {
  structuredClone: 'b => { structuredClone(b, { transfer: [b] }) }',
  postMessage:
    'b => { const { port1, port2 } = new MessageChannel(); port1.postMessage(b, [b]); port1.close(); port2.close() }',
  ...('transfer' in ArrayBuffer.prototype
    ? {
        transfer: 'b => { b.transfer() }',
        'transfer to a longer buffer': 'b => { b.transfer(4 * b.byteLength) }',
        'transfer to a shorter buffer': 'b => { b.transfer(4096) }',
        'transfer to nothing': 'b => { b.transferToFixedLength(0) }',
      }
    : {}),
}

/** What is freed goes back to the system at once (glibc), so that reading it ends the process. */
const unmapping = { MALLOC_MMAP_THRESHOLD_: '65536' }

const setup = `
  import { mkdir, writeFile } from 'node:fs/promises'
  import sharp from 'sharp'
  import { load, Embeddings } from ${JSON.stringify(lib('index'))}
  import * as kernels from ${JSON.stringify(lib('kernels'))}
  const clip = await load(${JSON.stringify(model)}, { threads: 2 })
  const rows = 100_000, dim = 16
  const many = (n = rows) => Float32Array.from({ length: n * dim }, (_, i) => Math.sin(i * (1 + (i >> 4) % 7)))
  const embeddings = n => new Embeddings(many(n), [n ?? rows, dim])
  const few = many(64)
  const folder = ${JSON.stringify(root)} + '/' + process.pid
  await mkdir(folder)
  const answers = []
  /** The result, or the error's code; anything else ends the process. 'soon': milliseconds after the call. */
  async function lose(name, arrays, start, take, soon = 0) {
    const told = promise => promise.then(() => 'result', error => error.code ?? error.stack)
    const answer = told(start())
    if (soon > 0) await new Promise(resolve => setTimeout(resolve, soon))
    for (const { buffer } of arrays) take(buffer)
    for (let i = 0; i < 3; i++) { globalThis.gc(); await new Promise(setImmediate) }
    answers.push([name, await answer, await told(start())])
  }`

const cases = `
  const noise = { create: { width: 1200, height: 1200, channels: 3, background: 'red', noise: { type: 'gaussian', mean: 128, sigma: 40 } } }
  const encoded = await sharp(noise).jpeg().toBuffer()
  const labels = Array.from({ length: rows }, (_, i) => 'ab'[i % 2])
  const bank = classes => ({ queries: few, rows: 64, dim, classes, classCount: rows, k: 3, threads: 2 })
  {
    const [e, t] = [embeddings(), embeddings(32)]
    await lose('similarity', [e.data, t.data], () => clip.similarity(e, t), take)
  }
  {
    const e = embeddings()
    await lose('linearProbe', [e.data], () => clip.linearProbe({ images: e, labels }, { C: 1, maxIterations: 3, output: 'embedding' }), take)
  }
  {
    const e = embeddings(2000)
    await lose('tipAdapter', [e.data], () => clip.tipAdapter({ images: e, labels: labels.slice(0, 2000) }, { fineTune: { epochs: 2 } }), take)
  }
  {
    const [i, t] = [embeddings(20_000), embeddings(20_000)]
    await lose('adapt', [i.data, t.data], () => clip.adapt({ images: i, texts: t }, { epochs: 1 }), take)
  }
  {
    const pets = await clip.classifier(Array.from({ length: 3000 }, (_, i) => 'a' + i))
    const e = embeddings(1000)
    await lose('classify', [pets.embeddings.data, e.data], () => pets.classify(e, { topK: 2 }), take)
    const cats = await clip.classifier(Array.from({ length: 20_000 }, (_, i) => 'b' + i))
    await lose('classifier.save', [cats.embeddings.data], () => cats.save(folder + '/cats.safetensors'), take)
  }
  {
    const e = embeddings(2000), f = embeddings(20_000)
    const shots = await clip.tipAdapter({ images: e, labels: labels.slice(0, 2000) }, {})
    await lose('classify by examples', [shots.embeddings.data, f.data], () => shots.classify(f), take)
  }
  {
    const store = await clip.openStore(folder + '/store', { create: true })
    let id = 0
    const data = new Uint8Array(1500 * 1500 * 3)
    const image = { data, width: 1500, height: 1500, channels: 3 }
    await lose('store.add', [data], () => store.add({ id: 'a' + id++, image }), take)
    const planes = await clip.preprocess({ data: new Uint8Array(300), width: 10, height: 10, channels: 3 })
    await lose('store.add of planes', [planes.data], () => store.add({ id: 'a' + id++, image: planes }), take)
    const query = embeddings(1)
    await lose('store.search', [query.data], () => store.search(query), take)
    await store.close()
  }
  for (const soon of [0, 2, 5, 10]) {
    const file = Uint8Array.from(encoded).buffer
    await lose('encoded', [{ buffer: file }], () => clip.encodeImage(file), take, soon)
  }
  {
    const planes = await clip.preprocess(Array.from({ length: 1500 }, () => ({ data: new Uint8Array(300), width: 10, height: 10, channels: 3 })))
    await lose('preprocessed', [planes.data], () => clip.encodeImage(planes), take)
    const data = new Uint8Array(1500 * 1500 * 3)
    await lose('raw pixels', [data], () => clip.encodeImage({ data, width: 1500, height: 1500, channels: 3 }), take)
    const other = new Uint8Array(1500 * 1500 * 3)
    await lose('preprocess', [other], () => clip.preprocess({ data: other, width: 1500, height: 1500, channels: 3 }), take)
  }
  {
    const classes = many()
    await lose('cosineTopK', [classes], () => kernels.cosineTopK(bank(classes)), take)
    const others = many()
    await lose('cosineSoftmax', [others], () => kernels.cosineSoftmax(bank(others)), take)
    await writeFile(folder + '/rows', many())
    const matrix = await kernels.openMatrix(folder + '/rows', { rows, dim })
    const queries = many(2000)
    await lose('cosineTopK of a matrix', [queries], () => kernels.cosineTopK({ queries, classes: matrix, k: 3 }), take)
    await matrix.close()
    const x = many(), weight = many(256)
    await lose('linear', [x, weight], () => kernels.linear({ x, weight, rows, inFeatures: dim, outFeatures: 256 }), take)
    const y = many(), norm = new Float32Array(dim)
    await lose('layerNorm', [y], () => kernels.layerNorm({ x: y, weight: norm, bias: norm, rows, cols: dim }), take)
    const [q, k, v] = [many(8192), many(8192), many(8192)]
    await lose('attention', [q, k, v], () => kernels.attention({ q, k, v, sequences: 8, length: 1024, heads: 2, headDim: 8 }), take)
    const [images, texts] = [many(4096), many(4096)]
    await lose('infoNCE', [images, texts], () => kernels.infoNCE({ images, texts, rows: 4096, dim }), take)
    const logits = many(), targets = new Int32Array(rows)
    await lose('softmaxCrossEntropy', [logits, targets], () => kernels.softmaxCrossEntropy({ logits, targets, rows, cols: dim }), take)
    const data = new Uint8Array(2000 * 2000 * 3)
    await lose('resizeBicubic', [data], () => kernels.resizeBicubic({ data, width: 2000, height: 2000, channels: 3, outWidth: 500, outHeight: 500 }), take)
  }
  console.log(JSON.stringify(answers))`

interface Answers extends Array<[name: string, during: string, after: string]> {}

for (const [name, take] of Object.entries(ways))
  test.serial(`arrays that are transferred while native code reads them do no harm: ${name}`, async t => {
    const { end, stdout, stderr } = await child(`${setup}; const take = ${take}; ${cases}`, {
      flags: ['--expose-gc'],
      env: unmapping,
    })
    t.is(end, 0, stderr)
    const answers: Answers = JSON.parse(stdout)
    t.is(answers.length, 26)
    for (const [what, during, after] of answers) {
      t.true(during === 'result' || during === 'ERR_CLIP_INPUT', `${what}: ${during}`)
      t.is(after, 'ERR_CLIP_INPUT', `${what}, given again`)
    }
  })

test('if arrays are transferred while native code writes to them, an error says so', async t => {
  const script = `${setup}
    const take = b => { b.transfer ? b.transfer(4096) : structuredClone(b, { transfer: [b] }) }
    const classes = many()
    const out = new Float32Array(64 * rows)
    await lose('cosineSoftmax', [out], () => kernels.cosineSoftmax({ queries: few, rows: 64, dim, classes, classCount: rows, out }), take)
    const wide = new Float32Array(rows * 64)
    await lose('linear', [wide], () => kernels.linear({ x: classes, weight: few, rows, inFeatures: dim, outFeatures: 64, out: wide }), take)
    const value = new Float32Array(64 * 3), index = new Int32Array(64 * 3)
    await lose('cosineTopK', [value], () => kernels.cosineTopK({ queries: few, rows: 64, dim, classes, classCount: rows, k: 3, out: { value, index } }), take)
    console.log(JSON.stringify(answers))`
  const { end, stdout, stderr } = await child(script, { flags: ['--expose-gc'], env: unmapping })
  t.is(end, 0, stderr)
  for (const [what, during, after] of JSON.parse(stdout) as Answers) {
    t.is(during, 'ERR_CLIP_INPUT', what)
    t.is(after, 'ERR_CLIP_INPUT', what)
  }
})

test('resizable buffers that shrink, WebAssembly memory that grows and shared memory give correct results', async t => {
  const script = `${setup}
    const bank = classes => ({ queries: few, rows: 64, dim, classes, classCount: rows, k: 3, threads: 2, as: 'cosine' })
    const expected = await kernels.cosineTopK(bank(many()))
    const same = async promise => {
      const { index, value } = await promise
      answers.push(Buffer.compare(Buffer.from(value.buffer), Buffer.from(expected.value.buffer)) === 0 && index.join() === expected.index.join())
    }
    const bytes = rows * dim * 4
    {
      const buffer = new ArrayBuffer(bytes, { maxByteLength: 2 * bytes })
      const classes = new Float32Array(buffer)
      classes.set(many())
      const promise = kernels.cosineTopK(bank(classes))
      buffer.resize(0)
      await same(promise)
    }
    {
      const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / 65536) })
      const classes = new Float32Array(memory.buffer, 0, rows * dim)
      classes.set(many())
      const promise = kernels.cosineTopK(bank(classes))
      memory.grow(1000)
      globalThis.gc()
      await same(promise)
    }
    for (const options of [undefined, { maxByteLength: 2 * bytes }]) {
      const classes = new Float32Array(new SharedArrayBuffer(bytes, options))
      classes.set(many())
      await same(kernels.cosineTopK(bank(classes)))
    }
    {
      const buffer = new ArrayBuffer(64 * 3 * 4, { maxByteLength: 8192 })
      const out = { value: new Float32Array(buffer), index: new Int32Array(64 * 3) }
      await same(kernels.cosineTopK({ ...bank(many()), out: { ...out, value: new Float32Array(buffer, 0, 64 * 3) } }))
    }
    console.log(JSON.stringify(answers))`
  const { end, stdout, stderr } = await child(script, { flags: ['--expose-gc'], env: unmapping })
  t.is(end, 0, stderr)
  t.deepEqual(JSON.parse(stdout), [true, true, true, true, true])
})

test('raw pixels of up to a MiB may be changed as soon as the call is made', async t => {
  const script = `${setup}
    const side = 412 // 509 232 bytes
    const image = () => ({ data: new Uint8Array(side * side * 3).fill(90), width: side, height: side, channels: 3 })
    const expected = await clip.preprocess(image())
    for (const call of ['preprocess', 'encodeImage']) {
      const one = image()
      const right = await clip[call](one)
      const promise = clip[call](one)
      one.data.fill(255)
      const { data } = await promise
      answers.push(Buffer.compare(Buffer.from(data.buffer), Buffer.from(right.data.buffer)) === 0)
    }
    console.log(JSON.stringify(answers))`
  const { end, stdout, stderr } = await child(script)
  t.is(end, 0, stderr)
  t.deepEqual(JSON.parse(stdout), [true, true])
})
