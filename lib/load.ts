import { type Dtype, modelDtypes } from './base/dtypes.js'
import { argumentError, ClipError } from './base/errors.js'
import { callback, checkOptions, checkSignal, flag, integer, oneOf } from './base/options.js'
import { traced } from './base/stack.js'
import { fingerprintOf } from './checkpoint/fingerprint.js'
import { readCheckpoint } from './checkpoint/index.js'
import { packCacheFor, warnOfPackCache } from './checkpoint/pack-cache.js'
import type { Checkpoint, NamedCheckpoint } from './checkpoint/spec.js'
import { Clip } from './clip.js'
import type { DownloadProgress } from './hub/index.js'
import { resolveModel } from './hub/resolve-model.js'
import { colourOf } from './image/background.js'
import { DEFAULT_DECODE_TIMEOUT, DEFAULT_MAX_PIXELS, type ImageSettings } from './image/decode.js'
import { type DecodeMode, decodeModes } from './image/decode-mode.js'
import { withAdapter } from './learn/adapter-file.js'
import { binding } from './native/addon.js'
import { cancellable } from './native/jobs.js'
import type { Activation, ModelSpec, Tower } from './native/spec.js'
import type { Tokenizer } from './tokenizer/tokenizer.js'

/** Options of {@link load}. */
export interface LoadOptions {
  /** Device to run on. 'auto' (the default) and 'cpu' use the best instruction set of this machine; see `devices()`. */
  device?: 'auto' | 'cpu' | 'cuda' | 'reference'
  /** Number format of weights and matrix products; default 'float32'. `devices()` lists what this machine supports. */
  dtype?: Dtype
  /** Encoders to load; default: all that the checkpoint contains. One of them needs about half the memory. */
  towers?: readonly Tower[]
  /** Number of threads per pass; default: the physical cores that the process may use (affinity and CPU quota). */
  threads?: number
  /** Largest number of token rows that waiting calls are batched into one pass with; default 512, on a GPU 8192. */
  maxBatchRows?: number
  /** Number of calls that may wait; a further call rejects with ERR_CLIP_BUSY. Default 1024. */
  maxQueue?: number
  /**
   * Largest number of pixels of an image; default 100 million. A larger image is rejected with ERR_CLIP_IMAGE before it
   * is decoded, and so is one whose decoder would need more than 8 bytes for each of these pixels.
   */
  maxPixels?: number
  /** Rotate images according to their EXIF orientation; default false, as in OpenAI's `preprocess`, which only rotates TIFF. */
  orient?: boolean
  /**
   * Colour that transparent images are composited onto: '#fff', '#ffffff', 'white' or 'black'. By default they are not
   * composited, as in OpenAI's `preprocess`, and transparent pixels become black. Opaque images are not changed.
   */
  background?: string
  /**
   * How images are decoded. 'exact' (the default) gives the pixels of Pillow. 'fast' decodes a large JPEG at 1/2, 1/4 or
   * 1/8 of its size, at the smallest of these that leaves at least twice the size to which the model's preprocessing
   * resizes it: about half the time for a photograph of a phone, and an embedding with a cosine of about 0.999 to the exact one
   * (docs/images.md). Calls have the same option.
   */
  decode?: DecodeMode
  /**
   * Render SVG as well, in a separate process that is killed after `decodeTimeout`. Use it only for files that you trust:
   * a few bytes of SVG can require any amount of work and memory. Default false.
   */
  svg?: boolean
  /**
   * Time limit in milliseconds for reading and decoding one image, and for the next chunk of a stream. An image that
   * exceeds it is rejected with ERR_CLIP_IMAGE. Default 30 000.
   */
  decodeTimeout?: number
  /** Number of attention heads, for checkpoints without a configuration. */
  heads?: number | { image?: number; text?: number }
  /** Activation function of the MLPs, for checkpoints without a configuration. */
  activation?: Activation
  /**
   * Which model to load from a file that contains several, by its path in the file: 'ema', 'state_dict.student'. By
   * default it is the one that is not an average of the others; where that is ambiguous, the error lists them.
   */
  stateDict?: string
  /** A file that `clip.adapt(...)` saved: its projections and temperature replace those of the checkpoint. */
  adapter?: string | URL
  /** Download folder; default: CLIP_NATIVE_CACHE, or else the cache folder of the platform. */
  cacheDir?: string
  /**
   * Cache the packed weights in the folder `packed` of the cache folder, in a file (mode 0600) about as large as the
   * model's memory. The next start maps that file, shared between processes, with bit-identical results. A file that does
   * not match is replaced; if it can't be written, a warning is emitted (code CLIP_PACK_CACHE) and loading continues. Such
   * a file may be deleted, but never truncate it: that kills the processes that have it mapped. Default false.
   */
  packCache?: boolean
  /** Never use the network: a model that is not on this machine rejects with ERR_CLIP_OFFLINE. Default: HF_HUB_OFFLINE. */
  offline?: boolean
  /** Download progress callback. */
  onProgress?: (progress: DownloadProgress) => void
  /** Aborts loading; the promise then rejects with the signal's reason. */
  signal?: AbortSignal
}

const optionNames = [
  'device',
  'dtype',
  'towers',
  'threads',
  'maxBatchRows',
  'maxQueue',
  'maxPixels',
  'orient',
  'background',
  'decode',
  'svg',
  'decodeTimeout',
  'heads',
  'activation',
  'stateDict',
  'adapter',
  'cacheDir',
  'packCache',
  'offline',
  'onProgress',
  'signal',
]

/** The part of the model that these towers need: nothing else is packed. */
function onlyTowers(model: ModelSpec, towers: readonly Tower[]): ModelSpec {
  const { image, text, ...rest } = model
  const wanted = Object.entries(model.tensors).filter(([name]) =>
    towers.includes(name.slice(0, name.indexOf('.')) as Tower),
  )
  return {
    ...rest,
    ...(image && towers.includes('image') ? { image } : {}),
    ...(text && towers.includes('text') ? { text } : {}),
    tensors: Object.fromEntries(wanted),
  }
}

/** Refuses towers that the checkpoint lacks, and the image tower if the checkpoint does not define its preprocessing. */
function checkPresent(checkpoint: Checkpoint, towers: readonly Tower[], source: string): void {
  for (const tower of towers)
    if (!checkpoint.model[tower]) {
      const other = tower === 'image' ? 'text' : 'image'
      throw new ClipError(
        'ERR_CLIP_CONFIG',
        `${source} has no ${tower} tower: its weights are those of the ${other} tower alone. Load it with \`towers: ['${other}']\`, or load the whole model's checkpoint`,
        { file: source, field: 'towers' },
      )
    }
  if (towers.includes('image') && checkpoint.unknownPreprocess) throw checkpoint.unknownPreprocess
  if (towers.includes('text') && checkpoint.unknownTokenizer) throw checkpoint.unknownTokenizer
}

function wrongVocabulary(path: string, tokenizer: Tokenizer, expected: number): ClipError {
  return new ClipError(
    'ERR_CLIP_CONFIG',
    `${path}: the text tower has ${expected} token embeddings, but the vocabulary has ${tokenizer.vocabSize} entries. ` +
      'A model with a vocabulary of its own needs vocab.json and merges.txt, or tokenizer.json, beside its weights; for added tokens its embeddings must have been enlarged as well (`resize_token_embeddings`)',
    {
      file: path,
      field: 'vocab_size',
      expected: `${expected} entries`,
      actual: `${tokenizer.vocabSize} entries`,
    },
  )
}

/** The same choice as in native/registry.cc: a GPU is used only if it is named. */
const runsOnCuda = (device: string) =>
  device === 'cuda' || (device === 'auto' && process.env.CLIP_NATIVE_BACKEND === 'cuda')

function checkTowers(value: unknown): readonly Tower[] | undefined {
  if (value === undefined) return undefined
  if (!Array.isArray(value) || value.length === 0)
    throw argumentError('towers', "be an array of 'image', 'text' or both", value)
  return [...new Set(value.map((tower, i) => oneOf(`towers[${i}]`, tower, ['image', 'text'])))]
}

function checkImageSettings(o: Partial<LoadOptions>): ImageSettings {
  const background = colourOf('background', o.background)
  return {
    maxPixels: integer('maxPixels', o.maxPixels ?? DEFAULT_MAX_PIXELS, 1),
    orient: flag('orient', o.orient ?? false),
    decode: oneOf('decode', o.decode ?? 'exact', decodeModes),
    svg: flag('svg', o.svg ?? false),
    decodeTimeout: integer('decodeTimeout', o.decodeTimeout ?? DEFAULT_DECODE_TIMEOUT, 1),
    ...(background ? { background } : {}),
  }
}

/**
 * Loads a checkpoint and packs its weights for this machine.
 *
 * `source` is one of OpenAI's model names (`availableModels()`), a Hugging Face id, or the path or file: URL of a
 * checkpoint file or folder. Without it, the embedded model is loaded, which knows icons and emoji, not photographs. A
 * named model that is not on this machine is downloaded once.
 *
 * Rejects with a ClipError: ERR_CLIP_CHECKPOINT or ERR_CLIP_CONFIG (naming file and field), ERR_CLIP_MODEL_MISMATCH (an
 * adapter of other weights), ERR_CLIP_BACKEND, ERR_CLIP_DTYPE, ERR_CLIP_CUDA (a GPU that fails, or computes other numbers
 * than the reference), ERR_CLIP_MEMORY, ERR_CLIP_OFFLINE, ERR_CLIP_DOWNLOAD or ERR_CLIP_CHECKSUM; with a TypeError or
 * RangeError for invalid options; or with `signal.reason`.
 */
export function load(source?: string | URL, options?: LoadOptions): Promise<Clip> {
  return traced(load, () => open(source, options))
}

async function open(source: string | URL | undefined, options: LoadOptions | undefined): Promise<Clip> {
  const o = checkOptions(options, optionNames)
  const signal = checkSignal(o.signal)
  const device = oneOf('device', o.device ?? 'auto', ['auto', 'cpu', 'cuda', 'reference'])
  const dtype = oneOf('dtype', o.dtype ?? 'float32', modelDtypes)
  const towers = checkTowers(o.towers)
  const maxBatchRows = integer('maxBatchRows', o.maxBatchRows ?? (runsOnCuda(device) ? 8192 : 512), 1)
  const maxQueue = integer('maxQueue', o.maxQueue ?? 1024, 0)
  const imageSettings = checkImageSettings(o)
  const packCache = flag('packCache', o.packCache ?? false)
  if (o.threads !== undefined) integer('threads', o.threads, 1, 256)
  const path = await resolveModel(source, {
    cacheDir: o.cacheDir,
    offline: o.offline,
    onProgress: callback('onProgress', o.onProgress),
    signal,
  })
  signal?.throwIfAborted()
  const native = binding()
  const threads = o.threads ?? native.defaultThreads()
  const own = await readCheckpoint(path, {
    signal,
    heads: o.heads,
    activation: o.activation,
    stateDict: o.stateDict,
  })
  const present = (['image', 'text'] as const).filter(tower => own.model[tower])
  const wanted = towers ?? present
  checkPresent(own, wanted, String(source ?? path))
  // An adapter belongs to certain weights, so their fingerprint is needed before they are packed.
  const adapted =
    o.adapter === undefined ? undefined : await adaptedCheckpoint(own, o.adapter, threads, signal)
  const checkpoint = adapted ?? own
  const spec = onlyTowers(checkpoint.model, wanted)
  // Loaded only for texts, because its tables and regular expressions take a while to set up.
  const tokenizer = spec.text
    ? await (require('./tokenizer/index.js') as typeof import('./tokenizer/index.js')).createTokenizer(
        checkpoint.tokenizer,
        checkpoint.vocabulary,
        signal,
      )
    : undefined
  if (tokenizer && tokenizer.vocabSize > spec.text!.embed.vocabSize)
    throw wrongVocabulary(path, tokenizer, spec.text!.embed.vocabSize)
  // Runs for the first model on a GPU, after everything that can be wrong with the model has been checked.
  if (runsOnCuda(device))
    await (require('./native/gpu-check.js') as typeof import('./native/gpu-check.js')).checkDevice(
      o.cacheDir,
      signal,
    )
  const others = present.filter(tower => !wanted.includes(tower))
  const unloaded = adapted || others.length === 0 ? undefined : onlyTowers(own.model, others)
  const keep = packCache ? await packCacheFor(spec, unloaded, o.cacheDir) : undefined
  const model = await cancellable(
    signal,
    job =>
      native.loadModel(job, spec, checkpoint.preprocess, {
        device,
        dtype,
        threads,
        maxBatchRows,
        ...(unloaded ? { unloaded } : {}),
        ...(keep ? { packCache: keep } : {}),
      }),
    job => native.cancelLoad(job),
  )
  warnOfPackCache(model.packCache)
  const named = adapted ?? { ...own, fingerprint: fingerprintOf(own, model.weightNames) }
  return new Clip({ model, spec, checkpoint: named, tokenizer, dtype, maxQueue, imageSettings })
}

async function adaptedCheckpoint(
  own: Checkpoint,
  adapter: string | URL,
  threads: number,
  signal: AbortSignal | undefined,
): Promise<NamedCheckpoint> {
  const native = binding()
  const names = await cancellable(
    signal,
    job => native.nameWeights(job, own.model, own.preprocess, threads),
    job => native.cancelLoad(job),
  )
  return withAdapter({ ...own, fingerprint: fingerprintOf(own, names) }, adapter, signal)
}
