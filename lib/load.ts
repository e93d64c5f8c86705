import type { Dtype } from './base/dtypes.js'
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
import { DEFAULT_DECODE_TIMEOUT, DEFAULT_MAX_PIXELS, type PictureSettings } from './image/decode.js'
import { withAdapter } from './learn/adapter-file.js'
import { binding } from './native/addon.js'
import { cancellable } from './native/jobs.js'
import type { Activation, ModelSpec, Tower } from './native/spec.js'
import type { Tokenizer } from './tokenizer/tokenizer.js'

/** Where a model comes from, where it runs and in what. */
export interface LoadOptions {
  /** Where to run. 'auto' (default) and 'cpu' take the best instruction set of this machine; see `devices()`. */
  device?: 'auto' | 'cpu' | 'cuda' | 'reference'
  /** What to compute in; default float32. See `devices()` for what this machine runs. */
  dtype?: Dtype
  /** Which encoders to load; default those that the checkpoint has. One of them takes about half the memory. */
  towers?: readonly Tower[]
  /** Threads of one pass; default: physical cores within the process's affinity and CPU quota. */
  threads?: number
  /** Token rows that calls waiting at the same time may share one pass with; default 512, on a GPU 8192. */
  maxBatchRows?: number
  /** Calls that may wait behind the running one; one more rejects ERR_CLIP_BUSY. Default 1024. */
  maxQueue?: number
  /**
   * Larger images are refused with ERR_CLIP_IMAGE before they are decoded, and so are those whose decoder would need
   * more than 8 bytes for each of these pixels; default 100 million.
   */
  maxPixels?: number
  /** Turn photographs as their EXIF orientation says; default false, as OpenAI's `preprocess` (which turns TIFF alone). */
  orient?: boolean
  /**
   * What transparent images are laid on: '#fff', '#ffffff', 'white' or 'black'. Default nothing, as OpenAI's
   * `preprocess`: what is transparent becomes black. Opaque images are not touched.
   */
  background?: string
  /**
   * Render SVG too, in a process of its own that is killed after `decodeTimeout`. For files that you trust: a few bytes
   * of SVG can ask for any amount of work and memory. Default false.
   */
  svg?: boolean
  /**
   * Milliseconds that reading and decoding an image may take, and that may pass between two pieces of a stream; then it
   * is refused with ERR_CLIP_IMAGE. Default 30 000.
   */
  decodeTimeout?: number
  /** Attention heads, for checkpoints that do not say. */
  heads?: number | { image?: number; text?: number }
  /** The MLP's nonlinearity, for checkpoints that do not say. */
  activation?: Activation
  /**
   * Where the model is in a file that holds more than one, by its path in there: 'ema', 'state_dict.student'. Without it
   * the one that is no average of the others is taken, and an error names those that there are.
   */
  stateDict?: string
  /** A file that `clip.adapt(...)` saved: its projections and temperature take the place of the checkpoint's own. */
  adapter?: string | URL
  /** Where downloads are kept; default CLIP_NATIVE_CACHE, else the platform's cache folder. */
  cacheDir?: string
  /**
   * Keep the packed weights in the folder `packed` of the cache folder, about as large as the model's memory (mode
   * 0600): the next start maps them, shared between processes, with the same results bit for bit. A file that does not
   * fit is replaced; one that can't be written is a warning (code CLIP_PACK_CACHE), not a failure. Delete such a file or
   * let it be replaced, but never cut it short: that kills the processes that have it mapped. Default false.
   */
  packCache?: boolean
  /** Never touch the network: a model that is not here rejects ERR_CLIP_OFFLINE. Default HF_HUB_OFFLINE. */
  offline?: boolean
  /** Told how a download proceeds. */
  onProgress?: (progress: DownloadProgress) => void
  /** Gives up loading; the promise rejects with its reason. */
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

/** Refuses towers that the checkpoint lacks, and images where it does not say how they become input. */
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

/** As native code chooses (native/registry.cc): a GPU is only ever asked for by name. */
const runsOnCuda = (device: string) =>
  device === 'cuda' || (device === 'auto' && process.env.CLIP_NATIVE_BACKEND === 'cuda')

function checkTowers(value: unknown): readonly Tower[] | undefined {
  if (value === undefined) return undefined
  if (!Array.isArray(value) || value.length === 0)
    throw argumentError('towers', "be an array of 'image', 'text' or both", value)
  return [...new Set(value.map((tower, i) => oneOf(`towers[${i}]`, tower, ['image', 'text'])))]
}

function checkPictures(o: Partial<LoadOptions>): PictureSettings {
  const background = colourOf('background', o.background)
  return {
    maxPixels: integer('maxPixels', o.maxPixels ?? DEFAULT_MAX_PIXELS, 1),
    orient: flag('orient', o.orient ?? false),
    svg: flag('svg', o.svg ?? false),
    decodeTimeout: integer('decodeTimeout', o.decodeTimeout ?? DEFAULT_DECODE_TIMEOUT, 1),
    ...(background ? { background } : {}),
  }
}

/**
 * Opens a checkpoint and packs its weights for this machine.
 *
 * `source`: one of OpenAI's names (`availableModels()`), the path (or file: URL) of a checkpoint file or folder, or a
 * Hugging Face hub id; nothing = the embedded model, which knows icons and emoji, not photographs. A named model that is
 * not on this machine is downloaded once.
 *
 * Rejects with ClipError ERR_CLIP_CHECKPOINT or ERR_CLIP_CONFIG (naming file and field), ERR_CLIP_MODEL_MISMATCH (an
 * adapter of other weights), ERR_CLIP_BACKEND,
 * ERR_CLIP_DTYPE, ERR_CLIP_CUDA (a GPU that fails, or computes other numbers than the reference), ERR_CLIP_MEMORY, ERR_CLIP_OFFLINE, ERR_CLIP_DOWNLOAD, ERR_CLIP_CHECKSUM; with TypeError or RangeError for
 * options that can't be; with `signal.reason`.
 */
export function load(source?: string | URL, options?: LoadOptions): Promise<Clip> {
  return traced(load, () => open(source, options))
}

async function open(source: string | URL | undefined, options: LoadOptions | undefined): Promise<Clip> {
  const o = checkOptions(options, optionNames)
  const signal = checkSignal(o.signal)
  const device = oneOf('device', o.device ?? 'auto', ['auto', 'cpu', 'cuda', 'reference'])
  const dtype = oneOf('dtype', o.dtype ?? 'float32', ['float32', 'float16', 'bfloat16', 'int8'])
  const towers = checkTowers(o.towers)
  const maxBatchRows = integer('maxBatchRows', o.maxBatchRows ?? (runsOnCuda(device) ? 8192 : 512), 1)
  const maxQueue = integer('maxQueue', o.maxQueue ?? 1024, 0)
  const pictures = checkPictures(o)
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
  // An adapter is one of these weights, so their name is needed before they are packed.
  const adapted =
    o.adapter === undefined ? undefined : await adaptedCheckpoint(own, o.adapter, threads, signal)
  const checkpoint = adapted ?? own
  const spec = onlyTowers(checkpoint.model, wanted)
  // Its tables and regular expressions take a while to set up: not for images alone.
  const tokenizer = spec.text
    ? await (require('./tokenizer/index.js') as typeof import('./tokenizer/index.js')).createTokenizer(
        checkpoint.tokenizer,
        checkpoint.vocabulary,
        signal,
      )
    : undefined
  if (tokenizer && tokenizer.vocabSize > spec.text!.embed.vocabSize)
    throw wrongVocabulary(path, tokenizer, spec.text!.embed.vocabSize)
  // On the first model of a GPU: after everything that can be wrong with the model.
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
  return new Clip({ model, spec, checkpoint: named, tokenizer, dtype, maxQueue, pictures })
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
