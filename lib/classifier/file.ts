/** Classifiers on disk: labels, encoded or learned weights, and the fingerprint of the model. */

import type { Json } from '../base/json.js'
import { pathOf } from '../base/options.js'
import { inSlices, type Steps } from '../base/slices.js'
import { badCheckpoint } from '../checkpoint/errors.js'
import { checkFingerprint } from '../checkpoint/fingerprint.js'
import { TensorFile, writeTensorFile } from '../checkpoint/tensor-file.js'
import type { Loaded } from '../encode/loaded-model.js'
import { pooledWidth } from '../encode/loaded-model.js'
import { LinearProbeScorer, type Scorer, TipAdapterScorer, ZeroShotScorer } from './scorers.js'

/** The origin of a classifier, as stored in its file: names and templates, or the settings of its training. */
export type ClassifierOrigin = Readonly<Record<string, unknown>>

const format = 'clip-native/classifier'
/** A million floats per label are more than any model has. */
const mostBytes = 2 ** 31

export async function writeClassifier(
  loaded: Loaded,
  file: string | URL,
  labels: readonly string[],
  scorer: Scorer,
  origin: ClassifierOrigin,
): Promise<void> {
  const settings = Object.fromEntries(
    Object.entries(scorer.settings).map(([name, value]) => [name, String(value)]),
  )
  await writeTensorFile(
    pathOf('file', file),
    format,
    {
      kind: scorer.kind,
      fingerprint: loaded.checkpoint.fingerprint,
      output: scorer.features.output,
      normalize: String(scorer.features.normalize),
      ...settings,
    },
    { labels, origin },
    { classes: scorer.classes, ...scorer.tensors },
  )
}

/** Creates each kind of scorer from its file. */
type ReadHead = (file: TensorFile, loaded: Loaded, labels: number) => Scorer
const readers: Record<string, ReadHead> = {
  'zero-shot': (file, loaded, labels) =>
    new ZeroShotScorer(file.tensor('classes', [labels, loaded.spec.embedDim])),
  'linear-probe': (file, loaded, labels) => {
    const output = file.word('output', ['pooled', 'embedding'])
    const width = output === 'pooled' ? pooledWidth(loaded) : loaded.spec.embedDim
    return new LinearProbeScorer(
      file.tensor('classes', [labels, width ?? -1]),
      file.tensor('bias', [labels]),
      output,
      file.word('normalize', ['true', 'false']) === 'true',
      numbers(file, ['C', 'loss', 'iterations', 'converged', 'validationAccuracy']),
    )
  },
  'tip-adapter': (file, loaded, labels) => {
    const keys = file.tensor('keys', [-1, loaded.spec.embedDim])
    const owners = file.tensor('owners', [keys.shape[0]!])
    for (const owner of owners.data)
      if (!Number.isInteger(owner) || owner < 0 || owner >= labels)
        throw badCheckpoint(
          file.file,
          'owners',
          `expected \`owners\` to be labels from 0 to ${labels - 1}, got ${owner}`,
        )
    return new TipAdapterScorer(file.tensor('classes', [labels, loaded.spec.embedDim]), keys, owners, {
      alpha: file.number('alpha'),
      beta: file.number('beta'),
      ...numbers(file, ['fineTuned', 'validationAccuracy']),
    })
  },
}

/** The entries that the metadata has. */
function numbers(file: TensorFile, names: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    names.filter(name => file.metadata.has(name)).map(name => [name, file.number(name)]),
  )
}

/** Converts parsed JSON to plain objects and arrays; members of any name, including `__proto__`, become properties. */
function* toPlain(value: Json): Steps<unknown> {
  if (Array.isArray(value)) {
    const list: unknown[] = []
    for (const one of value) {
      const isPlain = typeof one !== 'object' || one === null
      if (list.push(isPlain ? one : yield* toPlain(one)) % 64 === 0) yield
    }
    return list
  }
  if (!(value instanceof Map)) return value
  const members: [string, unknown][] = []
  for (const [name, one] of value) if (members.push([name, yield* toPlain(one)]) % 64 === 0) yield
  return Object.fromEntries(members)
}

/** The labels of a file, or undefined if they are not an array of one or more strings. */
function* labelsOf(value: Json | undefined): Steps<string[] | undefined> {
  if (!Array.isArray(value) || value.length === 0) return undefined
  const labels: string[] = []
  for (const label of value) {
    if (typeof label !== 'string') return undefined
    if (labels.push(label) % 1024 === 0) yield
  }
  return labels
}

/** Rejects with ERR_CLIP_CHECKPOINT for a damaged file or one of another kind, ERR_CLIP_MODEL_MISMATCH for another model. */
export async function readClassifier(
  loaded: Loaded,
  source: string | URL,
  signal: AbortSignal | undefined,
): Promise<{ labels: string[]; scorer: Scorer; origin: ClassifierOrigin }> {
  const path = pathOf('file', source)
  const file = await TensorFile.read(path, format, mostBytes, signal)
  const fail = (field: string, message: string) => badCheckpoint(path, field, message)
  if (!(file.about instanceof Map)) throw fail('about', 'expected `about` to be an object')
  checkFingerprint(loaded.checkpoint.fingerprint, path, 'this classifier', file.metadata.get('fingerprint'))
  const labels = await inSlices(labelsOf(file.about.get('labels')), signal)
  if (!labels) throw fail('about.labels', 'expected `labels` to be an array of at least one string')
  const kind = file.metadata.get('kind') ?? ''
  if (!Object.hasOwn(readers, kind))
    throw fail(
      '__metadata__.kind',
      `is a classifier of the unknown kind ${JSON.stringify(kind.slice(0, 64))}`,
    )
  const scorer = readers[kind]!(file, loaded, labels.length)
  const origin = file.about.get('origin')
  return {
    labels,
    scorer,
    origin: origin instanceof Map ? ((await inSlices(toPlain(origin), signal)) as ClassifierOrigin) : {},
  }
}
