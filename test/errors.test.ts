/** What every error of the package keeps to: short, printable, begun at the caller, and never a reason to throw another. */

import { createContext, runInContext } from 'node:vm'
import test from 'ava'
import { argumentError, describe, got } from '../lib/base/errors.js'
import {
  ClipError,
  devices,
  evaluate,
  isClipError,
  load,
  modelInfo,
  openDataset,
  promptSet,
} from '../lib/index.mjs'
import { linear, openMatrix } from '../lib/kernels.mjs'

const clip = await load()
const classifier = await clip.classifier(['dog', 'cat'])
test.after.always(() => clip.dispose())

// biome-ignore lint/suspicious/noExplicitAny: what TypeScript would refuse is what is tested here
type Loose = any

const revoked = (target: object): object => {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return proxy
}
const throwing = (): never => {
  throw new Error('a trap was called')
}
const trapped = new Proxy(
  {},
  {
    get: throwing,
    getPrototypeOf: throwing,
    has: throwing,
    ownKeys: throwing,
    getOwnPropertyDescriptor: throwing,
  },
)
const realm = createContext({})

/** [what it is, what an error says of it]: none may throw, or call what is in the value. */
const values: [value: unknown, words: string][] = [
  [revoked({}), 'a Proxy'],
  [revoked([]), 'a Proxy'],
  [revoked(() => {}), 'a function'],
  [trapped, 'a Proxy'],
  [Symbol('secret'), 'a symbol'],
  [Object.create(null), 'an object'],
  [Object.create(trapped), 'an object'],
  [{ toString: throwing, [Symbol.toPrimitive]: throwing }, 'an object'],
  [
    {
      get constructor() {
        return throwing()
      },
    },
    'an object',
  ],
  [{ constructor: { name: Symbol('x') } }, 'an object'],
  [
    {
      get [Symbol.toStringTag]() {
        return throwing()
      },
    },
    'an object',
  ],
  [
    {
      constructor: Object.defineProperty(() => {}, 'name', { get: throwing }),
    },
    'an object',
  ],
  [
    new (class extends Uint8Array {
      override get length(): number {
        return throwing()
      }
    })(3),
    'a Uint8Array of 3',
  ],
  [runInContext('new Float32Array(4)', realm), 'a Float32Array of 4'],
  [runInContext('[1, 2]', realm), 'an array of 2'],
  [runInContext('new Map()', realm), 'a Map'],
  [new ArrayBuffer(8), 'an ArrayBuffer'],
  [new DataView(new ArrayBuffer(8)), 'a DataView'],
  [-0, '0'],
  [10n ** 500n, `1${'0'.repeat(29)}…${'0'.repeat(29)}`],
  ['x'.repeat(61), `"${'x'.repeat(57)}..."`],
  ['\u001b[31m\u202e\u0085\n', '"\\u001b[31m\\u202e\\u0085\\n"'],
  ['\ud800', '"\\ud800"'],
]

for (const [i, [value, words]] of values.entries())
  test(`describing a value runs none of its code: ${i}, ${words}`, t => {
    t.is(describe(value), words)
    t.is(argumentError('x', 'be another', value).message, `Expected \`x\` to be another, got ${words}`)
  })

/** Every string that an error carries, those of the errors below it too. */
function strings(error: Error & Partial<Record<'file' | 'field' | 'expected' | 'actual', string>>): string[] {
  const all = [error.message, error.stack!, error.file, error.field, error.expected, error.actual]
  if (error.cause instanceof Error) all.push(...strings(error.cause))
  return all.filter(text => text !== undefined)
}

const long = 'q'.repeat(5_000_000)
const hostile = [
  ...values.map(([value]) => value),
  long,
  `/${long}`,
  `data:image/png;base64,${long}`,
  `http://${long}`,
  `file:///${long}`,
  `file://host/${long}`,
  `\u001b]0;${long}\u0007`,
  { [long]: 1 },
  [long],
  { data: long, width: 1, height: 1, channels: 3 },
  { data: new Uint8Array(3), width: Symbol('w'), height: 1, channels: 3 },
  { data: new Float32Array(3), shape: [Symbol('n'), 3, long, long] },
]

/** Every public function, given `value` in each place that takes one. */
const calls: Record<string, (value: Loose) => unknown> = {
  'clip.encodeImage': value => clip.encodeImage(value),
  'clip.encodeImage of an array': value => clip.encodeImage([value]),
  'clip.encodeImage, options': value => clip.encodeImage('x', value),
  'clip.encodeImage, output': value => clip.encodeImage('x', { output: value }),
  'clip.encodeImage, signal': value => clip.encodeImage('x', { signal: value }),
  'clip.encodeText of an array': value => clip.encodeText([value]),
  'clip.encodeText, options': value => clip.encodeText('x', value),
  'clip.encodeText, cleaning': value => clip.encodeText('x', { cleaning: value }),
  'clip.preprocess': value => clip.preprocess(value),
  'clip.tokenize, options': value => clip.tokenize('x', value),
  'clip.detokenize': value => clip.detokenize(value),
  'clip.similarity': value => clip.similarity(value, 'x'),
  'clip.similarity, as': value => clip.similarity('x', 'x', { as: value }),
  'clip.classifier': value => clip.classifier([value, 3 as Loose]),
  'clip.classifier, options': value => clip.classifier(['a'], value),
  'clip.classifier, templates': value => clip.classifier(['a'], { templates: [value] }),
  'clip.loadClassifier': value => clip.loadClassifier(value),
  'classifier.classify': value => classifier.classify(value),
  'classifier.classify, topK': value => classifier.classify('x', { topK: value }),
  'classifier.save': value => classifier.save(revokedOr(value)),
  'classifier.stream': value => classifier.stream(value).next(),
  'clip.linearProbe': value => clip.linearProbe(value),
  'clip.linearProbe, labels': value => clip.linearProbe({ images: ['a', 'b'], labels: ['x', value] }),
  'clip.tipAdapter': value => clip.tipAdapter(value),
  'clip.adapt': value => clip.adapt(value),
  'clip.openStore': value => clip.openStore(value),
  'clip.openStore, options': value => clip.openStore('/nowhere', value),
  load: value => load(value),
  'load, options': value => load('/nowhere', value),
  'load, device': value => load('/nowhere', { device: value }),
  'load, adapter': value => load(undefined, { adapter: value }),
  evaluate: value => evaluate(clip, value),
  'evaluate, options': value => evaluate(clip, '/nowhere', value),
  openDataset: value => openDataset(value),
  modelInfo: value => modelInfo(value),
  promptSet: value => promptSet(value),
  linear: value => linear(value),
  'linear, x': value =>
    linear({ x: value, weight: new Float32Array(1), rows: 1, inFeatures: 1, outFeatures: 1 }),
  'linear, backend': value =>
    linear({
      x: new Float32Array(1),
      weight: new Float32Array(1),
      rows: 1,
      inFeatures: 1,
      outFeatures: 1,
      backend: value,
    }),
  openMatrix: value => openMatrix(value, { rows: 1, dim: 1 }),
  'openMatrix, dtype': value => openMatrix('/nowhere', { rows: 1, dim: 1, dtype: value }),
}
/** A long name makes a file: only what can be none is saved to. */
const revokedOr = (value: Loose): Loose => (typeof value === 'string' && value.length < 1000 ? '' : value)

for (const [name, call] of Object.entries(calls))
  test(`hostile values are refused with short, printable errors of this package: ${name}`, async t => {
    for (const [i, value] of hostile.entries()) {
      // What a caller's own function throws is the caller's.
      if (typeof value === 'function') continue
      let error: unknown
      try {
        await call(value)
      } catch (thrown) {
        error = thrown
      }
      if (error === undefined) continue // some are good arguments for some
      t.true(isClipError(error), `value ${i}: ${String((error as Error).stack)}`)
      const { file } = error as ClipError
      for (const text of strings(error as Error)) {
        t.false(/q{121}/.test(text), `value ${i}: ${text.slice(0, 200)}`)
        t.true(text.length < 4000, `value ${i}: ${text.length} characters`)
        if (text === file) continue // as it was given
        // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
        t.notRegex(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/, `value ${i}`)
      }
      t.false((error as Error).message.includes('\n'), `value ${i}`)
    }
  })

test("a caller's string that begins with = is quoted like any other", async t => {
  await t.throwsAsync(clip.encodeText('x', { output: '=none' as Loose }), { message: /got "=none"$/ })
  t.is(argumentError('x', 'be y', got('none')).message, 'Expected `x` to be y, got none')
})

test('isClipError recognises ClipErrors and argument errors of any realm or copy, and nothing else', async t => {
  t.true(isClipError(new ClipError('ERR_CLIP_IMAGE', 'x')))
  t.true(isClipError(await t.throwsAsync(clip.encodeText(3 as Loose))))
  t.true(isClipError(runInContext("Object.assign(new Error('x'), { code: 'ERR_CLIP_IMAGE' })", realm)))
  const not = [
    new Error('x'),
    Object.assign(new Error('x'), { code: 'ENOENT' }),
    { code: 'ERR_CLIP_IMAGE' },
    AbortSignal.abort().reason,
    null,
    undefined,
    ...values.map(([value]) => value),
  ]
  for (const value of not) t.false(isClipError(value))
})

test('a long path is shortened in the cause of an error too', t => {
  const file = `/${'q'.repeat(3000)}`
  const cause = Object.assign(new Error(`ENOENT: no such file, open '${file}'`), {
    code: 'ENOENT',
    path: file,
  })
  const error = new ClipError('ERR_CLIP_IMAGE', `${file}: does not exist`, { file, cause })
  for (const text of strings(error)) t.notRegex(text, /q{121}/)
  t.is((error.cause as NodeJS.ErrnoException).code, 'ENOENT')
  t.is(error.file!.length, 120)
})

/** The first line of a stack that names a place. */
const place = (error: Error) => error.stack!.split('\n').find(line => /^ {4}at /.test(line))

const failures: Record<string, () => Promise<unknown> | AsyncGenerator> = {
  'a wrong option': () => clip.encodeImage('x', { size: 3 } as Loose),
  'no image': () => clip.encodeImage(3 as Loose),
  'no such file': () => clip.encodeImage('/nowhere.png'),
  'no such files': () => clip.encodeImage(['/nowhere.png', '/nowhere.jpg']),
  'bytes that are no image': () => clip.preprocess(new Uint8Array(100)),
  'a long text': () => clip.encodeText('a '.repeat(100)),
  similarity: () => clip.similarity('/nowhere.png', 'x'),
  classify: () => classifier.classify('/nowhere.png'),
  'a classifier that is not there': () => clip.loadClassifier('/nowhere'),
  'a folder that can not be written': () => classifier.save('/nowhere/at/all'),
  probe: () => clip.linearProbe({ images: ['/nowhere.png', '/no.png'], labels: ['a', 'b'] }),
  'no store': () => clip.openStore('/nowhere'),
  'no model': () => load('/nowhere'),
  'no data set': () => evaluate(clip, '/nowhere'),
}
for (const [name, fail] of Object.entries(failures))
  test(`the stack begins at the caller's line, whether the call is awaited or not: ${name}`, async t => {
    const awaited = await t.throwsAsync(async () => {
      await fail()
    })
    t.regex(place(awaited!)!, /errors\.test\.js/)
    t.notRegex(awaited!.stack!, /dist[\\/]lib[\\/]/)
    const caught = await new Promise<Error>((resolve, reject) => {
      ;(fail() as Promise<unknown>).then(() => reject(new Error('it should fail')), resolve)
    })
    t.regex(place(caught)!, /errors\.test\.js/)
  })

test("Error.stackTraceLimit and other code's errors are not changed", async t => {
  const { stackTraceLimit } = Error
  await t.throwsAsync(clip.encodeImage('/nowhere.png'))
  t.is(Error.stackTraceLimit, stackTraceLimit)
  const reason = new Error('mine')
  const { stack } = reason
  const error = await t.throwsAsync(clip.encodeImage('/nowhere.png', { signal: AbortSignal.abort(reason) }))
  t.is(error, reason)
  t.is(error!.stack, stack)
  t.true(devices().length > 0)
})
