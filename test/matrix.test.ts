/** Matrices in files: the same bits as in memory, and what happens when the file is not what was said. */

import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { cosineTopK, Matrix, openMatrix } from '../lib/kernels.js'
import { binding } from '../lib/native/addon.js'
import { toBfloat16s } from './helpers/narrow.js'
import { normal, randomBytes } from './helpers/random.js'

const folder = await mkdtemp(join(tmpdir(), 'clip-matrix-'))
test.after.always(() => rm(folder, { recursive: true, force: true }))

const [rows, dim, offset] = [6001, 100, 37] // several parts of several blocks, and an odd offset
const matrices = {
  float32: normal(1, rows * dim),
  bfloat16: toBfloat16s(normal(2, rows * dim)),
  int8: new Int8Array(randomBytes(3, rows * dim).buffer),
}
const bytesOf = (a: ArrayBufferView) => new Uint8Array(a.buffer, a.byteOffset, a.byteLength)

async function write(name: string, data: ArrayBufferView): Promise<string> {
  const file = join(folder, name)
  await writeFile(file, Buffer.concat([Buffer.alloc(offset, 0xee), bytesOf(data), Buffer.alloc(5, 0xdd)]))
  return file
}

const backends = binding()
  .backends()
  .filter(b => b.available && b.device !== 'cuda')
  .map(b => b.name)

for (const dtype of ['float32', 'bfloat16', 'int8'] as const)
  for (const backend of backends)
    test(`${dtype} rows of a file give the bits of the matrix in memory on ${backend}`, async t => {
      const file = await write(`${dtype}-${backend}`, matrices[dtype])
      await using matrix = await openMatrix(pathToFileURL(file), { offset, rows, dim, dtype })
      t.like(matrix, { file, rows, dim, dtype })
      const queries = normal(4, 67 * dim)
      for (const [count, k] of [
        [1, 10],
        [67, 3],
        [1, rows],
      ] as const) {
        const a = { queries: queries.subarray(0, count * dim), k, backend }
        for (const as of ['probability', 'cosine'] as const) {
          const memory = await cosineTopK({
            ...a,
            as,
            classes: matrices[dtype],
            rows: count,
            classCount: rows,
            dim,
          })
          for (const threads of [1, 2])
            t.deepEqual(await cosineTopK({ ...a, as, classes: matrix, threads }), memory)
        }
        if (backend === 'reference') break // the others would take seconds
      }
    })

test('concurrent calls write only to their own arrays', async t => {
  const file = await write('at-once', matrices.float32)
  await using matrix = await openMatrix(file, { offset, rows, dim })
  const one = (i: number) => ({ queries: normal(20 + i, 2 * dim), k: 4 })
  const together = await Promise.all(
    Array.from({ length: 8 }, (_, i) => cosineTopK({ ...one(i), classes: matrix })),
  )
  for (let i = 0; i < 8; i++) {
    const out = { index: new Int32Array(8), value: new Float32Array(8) }
    t.is(await cosineTopK({ ...one(i), classes: matrix, out }).then(top => top.value), out.value)
    t.deepEqual(together[i], out)
  }
})

test('a file that is shorter than stated is refused', async t => {
  const file = await write('short', matrices.int8)
  const has = offset + rows * dim + 5
  const error = await t.throwsAsync(openMatrix(file, { offset, rows, dim }))
  t.like(error, {
    name: 'ClipError',
    code: 'ERR_CLIP_CHECKPOINT',
    file,
    field: 'rows',
    expected: `at least ${offset + rows * dim * 4} bytes`,
    actual: `${has} bytes`,
  })
  await t.throwsAsync(openMatrix(file, { offset: 2 ** 53 - 1, rows: 2 ** 31 - 1, dim: 2 ** 31 - 1 }), {
    code: 'ERR_CLIP_CHECKPOINT',
  })
  // To the last byte: all of it, and one more row's worth of bytes that are not there.
  await using all = await openMatrix(file, { offset, rows, dim, dtype: 'int8' })
  t.is(all.rows, rows)
  await t.throwsAsync(openMatrix(file, { offset: offset + 6, rows, dim, dtype: 'int8' }), {
    code: 'ERR_CLIP_CHECKPOINT',
  })
})

test('a file that is truncated while it is open is an error', async t => {
  const file = await write('cut', matrices.float32)
  await using matrix = await openMatrix(file, { offset, rows, dim })
  const whole = await cosineTopK({ queries: normal(5, dim), classes: matrix, k: 3 })
  t.is(whole.index.length, 3)
  await truncate(file, offset + 4000 * dim * 4)
  const error = await t.throwsAsync(cosineTopK({ queries: normal(5, dim), classes: matrix, k: 3 }))
  t.like(error, {
    code: 'ERR_CLIP_CHECKPOINT',
    file,
    field: 'rows',
    actual: `${offset + 4000 * dim * 4} bytes`,
  })
  t.regex(error!.message, /was truncated while it was being read/)
})

test('a missing file and a folder are refused', async t => {
  const missing = join(folder, 'missing')
  t.like(await t.throwsAsync(openMatrix(missing, { rows, dim })), {
    code: 'ERR_CLIP_CHECKPOINT',
    file: missing,
    field: 'file',
  })
  t.like(await t.throwsAsync(openMatrix(folder, { rows, dim })), {
    code: 'ERR_CLIP_CHECKPOINT',
    field: 'file',
    actual: 'a folder',
  })
})

test('an abort before or during a search rejects, and one afterwards has no effect', async t => {
  const file = await write('abort', matrices.float32)
  await using matrix = await openMatrix(file, { offset, rows, dim })
  const a = { queries: normal(6, 64 * dim), classes: matrix, k: 3 }
  const reason = new Error('enough')
  await t.throwsAsync(cosineTopK({ ...a, signal: AbortSignal.abort(reason) }), { is: reason })
  // The slowest backend: far from done when the signal comes.
  const stop = new AbortController()
  const call = cosineTopK({ ...a, backend: 'reference', threads: 1, signal: stop.signal })
  setImmediate(() => stop.abort(reason))
  await t.throwsAsync(call, { is: reason })
  const late = new AbortController()
  const found = await cosineTopK({ ...a, signal: late.signal })
  late.abort(reason)
  t.deepEqual(await cosineTopK(a), found)
})

test('after close, running calls finish and later ones are refused', async t => {
  const file = await write('close', matrices.float32)
  const matrix = await openMatrix(file, { offset, rows, dim })
  const a = { queries: normal(7, 8 * dim), classes: matrix, k: 3 }
  const before = await cosineTopK(a)
  const running = cosineTopK(a)
  const closed = matrix.close()
  t.is(matrix.close(), closed)
  const error = await t.throwsAsync(cosineTopK(a))
  t.like(error, { code: 'ERR_CLIP_DISPOSED', file })
  await closed
  t.deepEqual(await running, before)
})

test('invalid arguments are refused', async t => {
  const file = await write('mistakes', matrices.float32)
  await using matrix = await openMatrix(file, { offset, rows, dim })
  // biome-ignore lint/suspicious/noExplicitAny: wrong types on purpose
  const loose = (value: unknown) => value as any
  const queries = normal(8, dim)
  const mistakes: [() => Promise<unknown>, string][] = [
    [() => openMatrix(loose(3), { rows, dim }), 'Expected `file` to be a path or a file: URL, got 3'],
    [
      () => openMatrix(new URL('http://a.b/c'), { rows, dim }),
      'Expected `file` to be a path or a file: URL, got "http://a.b/c"',
    ],
    [
      () => openMatrix('a\0b', { rows, dim }),
      'Expected `file` to be a path without NUL characters, got "a\\u0000b"',
    ],
    [() => openMatrix(file, loose(undefined)), 'Expected `options` to be an object, got undefined'],
    [
      () => openMatrix(file, { rows, dim, offset: -1 }),
      'Expected `offset` to be an integer from 0 to 9007199254740991, got -1',
    ],
    [
      () => openMatrix(file, { rows: 0, dim }),
      'Expected `rows` to be an integer from 1 to 2147483647, got 0',
    ],
    [
      () => openMatrix(file, { rows, dim, dtype: loose('float16') }),
      "Expected `dtype` to be one of 'float32', 'bfloat16', 'int8', got \"float16\"",
    ],
    [
      () => openMatrix(file, loose({ rows, dim, type: 'int8' })),
      'Expected `options` to have known names (did you mean `dtype`?), got `type`',
    ],
    [
      () => cosineTopK({ queries: new Float32Array(dim + 1), classes: matrix, k: 1 }),
      `Expected \`queries\` to have 200 floats (2 rows x 100), got 101`,
    ],
    [
      () => cosineTopK({ queries: loose([1]), classes: matrix, k: 1 }),
      'Expected `queries` to be a Float32Array, got an array of 1',
    ],
    [
      () => cosineTopK({ queries, classes: matrix, k: rows + 1 }),
      `Expected \`k\` to be an integer from 1 to ${rows}, got ${rows + 1}`,
    ],
    [
      () => cosineTopK({ queries, classes: matrix, k: 1, signal: loose({}) }),
      'Expected `signal` to be an AbortSignal, got an object',
    ],
    [
      async () => new Matrix(loose(1), '', loose({}), loose({})),
      'Expected `Matrix` to be made by openMatrix, got `new Matrix`',
    ],
  ]
  for (const [call, message] of mistakes) {
    const error = await t.throwsAsync(call, { message })
    t.is((error as { code?: string } | undefined)?.code, 'ERR_CLIP_INPUT', message)
  }
})
