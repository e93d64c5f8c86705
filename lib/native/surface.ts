/**
 * Declares everything that the addon exports, as types that correspond to native/binding. lib/native/addon.ts loads the
 * addon, and lib/native/jobs.ts starts and cancels its jobs.
 */

import type { Dtype, FloatDtype, RowDtype } from '../base/dtypes.js'
import type { ImagePart, NativeImage } from '../image/pixels.js'
import type { ModelSpec, PreprocessSpec } from './spec.js'

/** A backend of this build. */
export interface NativeBackend {
  name: string
  device: 'cpu' | 'cuda' | 'reference'
  available: boolean
  reason?: string
  dtypes: Dtype[]
  /** Unit round-off per dtype, from which the tests derive their bounds. */
  epsilon: Partial<Record<Dtype, number>>
  borrowed: string
}

/** `joint`: whether the tower has a projection into the joint space. `width`: the dimension of 'pooled' and 'tokens'. */
export interface NativeShapes {
  embedDim: number
  image?: { size: number; tokens: number; width: number; joint: boolean }
  text?: { contextLength: number; vocabSize: number; width: number; joint: boolean }
}

/**
 * A loaded model. Every method that takes `job` starts one queue entry; `cancel(job)` cancels it (its promise then
 * rejects with code ERR_CLIP_ABORTED, which lib turns into signal.reason). Buffers are referenced until the promise
 * settles; their memory stays even if the caller transfers them.
 */
export interface NativeModel {
  readonly backend: string
  readonly active: string
  readonly device: 'cpu' | 'cuda' | 'reference'
  readonly threads: number
  readonly weightBytes: number
  /** The dimensions of the loaded towers' outputs. */
  readonly shapes: NativeShapes
  readonly weightNames: WeightNames
  /** Whether the weights came from the pack cache; `reason`: why they could not be written there. */
  readonly packCache: { use: 'off' | 'mapped' | 'written' | 'failed'; file: string; reason: string }
  /** n images -> n * d floats ('tokens': n * tokens * width). */
  encodeImage(
    job: number,
    images: NativeImage[],
    output: 'embedding' | 'pooled' | 'tokens',
    normalize: boolean,
  ): Promise<Float32Array>
  /** The image tower's input for each image: n * 3 * size * size floats. */
  preprocess(job: number, images: NativeImage[]): Promise<Float32Array>
  /**
   * The part of an image of that size that affects the tower's input, given the filter with which the model resizes. Takes
   * microseconds.
   */
  reachingPart(width: number, height: number): ImagePart
  /**
   * `ids` are those of all texts, one after the other, as the tokenizer returns them; text i has lengths[i]. The tower
   * computes only the rows that affect its result. 'tokens' has the rows of each text, followed by rows of zeros up to the
   * longest text.
   */
  encodeText(
    job: number,
    ids: Int32Array,
    lengths: Int32Array,
    output: 'embedding' | 'pooled' | 'tokens',
    normalize: boolean,
  ): Promise<Float32Array>
  /** The number of rows per text in encodeText's 'tokens' for these texts. */
  textTokens(ids: Int32Array, lengths: Int32Array): number
  cancel(job: number): void
  /** Running jobs finish, and queued ones reject with ERR_CLIP_DISPOSED; resolves when the memory is freed. */
  dispose(): Promise<void>
  /**
   * The numbers since the model was loaded: rows (textNodes: those of the tries, without rows that chunks computed again),
   * passes and jobs.
   */
  counters(): { textRows: number; textNodes: number; imageRows: number; passes: number; jobs: number }
}

/** The kinds of scores: the softmax of the logits, logitScale * cosine (the original's logits_per_image), or the cosine. */
export type ScoreKind = 'probability' | 'logit' | 'cosine'
/** The kinds of scores of the kernels: 'probability' is the softmax, 'sigmoid' the sigmoid of each logit alone. */
export type KernelScoreKind = ScoreKind | 'sigmoid'

/** Rows that an op writes: float32, bfloat16 (Uint16Array), or int8 (Uint8Array, with a scale and a zero per row). */
export interface NarrowRows {
  out: Float32Array | Uint16Array | Uint8Array
  /** Default float32. */
  outDtype?: RowDtype
  scale?: Float32Array
  zero?: Int32Array
}

/**
 * A kernel: lib/kernels checks its arguments, native/ops reads them. If `backend` is undefined, the chosen CPU backend runs
 * it. It resolves to the name of the backend that ran it, which the tests check.
 */
export type NativeKernel<Arguments> = (
  a: Arguments & { threads: number; backend: string | undefined },
) => Promise<string>

/** Every kernel with a public function, whose file in lib/kernels adds the kernel to this interface. */
// biome-ignore lint/suspicious/noEmptyInterface: see lib/kernels
export interface NativeKernels {}

/**
 * Kernels that only tests call. The addon has them if it was built with the CMake option CLIP_TEST_ENTRIES: see
 * test-entries.ts.
 */
export interface NativeTestKernels {
  /** resizeAndCrop of native/model/image.h, then its normalize table: one image to (3, size, size) floats. */
  preprocess: NativeKernel<{
    image: NativeImage
    preprocess: PreprocessSpec
    out: Float32Array
  }>
  /** The ops that have no public kernel. */
  embed: NativeKernel<{
    table: Float32Array
    ids: Int32Array
    positions: Float32Array
    position: Int32Array
    out: Float32Array
    rows: number
    cols: number
  }>
  cast: NativeKernel<
    NarrowRows & {
      x: Float32Array
      rows: number
      cols: number
    }
  >
  gather: NativeKernel<{
    x: Float32Array
    row: Int32Array
    out: Float32Array
    count: number
    cols: number
  }>
  normalise: NativeKernel<{
    x: Float32Array
    out: Float32Array
    rows: number
    cols: number
  }>
  patches: NativeKernel<{
    pixels?: Uint8Array
    value?: Float32Array
    planes?: Float32Array
    out: Float32Array | Uint16Array
    outDtype?: FloatDtype
    images: number
    size: number
    patch: number
  }>
  /** activation(convolution + bias): x (images, height, width, inChannels), weight (outChannels, kernel, kernel, inChannels). */
  conv: NativeKernel<{
    x: Float32Array
    weight: Float32Array
    /** x (unless int8, whose windows are quantised one by one) and weight are converted to this first; default float32. */
    dtype?: RowDtype
    bias: Float32Array
    out: Float32Array | Uint16Array
    outDtype?: FloatDtype
    images: number
    height: number
    width: number
    inChannels: number
    outChannels: number
    kernel: number
    stride: number
    pad: number
    activation: 'none' | 'gelu' | 'relu'
  }>
  /** activation(depthwise convolution + bias): x (images, height, width, channels), weight (kernel, kernel, channels * multiplier). */
  depthwiseConv: NativeKernel<{
    x: Float32Array
    weight: Float32Array
    bias: Float32Array
    out: Float32Array | Uint16Array
    outDtype?: FloatDtype
    images: number
    height: number
    width: number
    channels: number
    multiplier: number
    kernel: number
    stride: number
    pad: number
    activation: 'none' | 'gelu'
  }>
  /** activation(x * gate), where `rowsPerGate` consecutive rows have one gate. */
  channelGate: NativeKernel<{
    x: Float32Array
    gate: Float32Array
    out: Float32Array | Uint16Array
    outDtype?: FloatDtype
    rows: number
    cols: number
    rowsPerGate: number
    activation: 'none' | 'gelu'
  }>
  /** Rotates pairs of neighbours. Each row of `table` has dim cosines, then dim sines, negative at even numbers. */
  rope: NativeKernel<{
    x: Float32Array | Uint16Array
    dtype?: FloatDtype
    table: Float32Array
    position: Int32Array
    out: Float32Array | Uint16Array
    rows: number
    heads: number
    dim: number
  }>
  /** activation(a) * b. */
  gate: NativeKernel<{
    a: Float32Array | Uint16Array
    b: Float32Array | Uint16Array
    dtype?: FloatDtype
    out: Float32Array | Uint16Array
    outDtype?: FloatDtype
    activation: 'silu' | 'gelu'
    rows: number
    cols: number
  }>
  /** The mean over adjacent windows: x (images, height, width, channels). */
  pool: NativeKernel<{
    x: Float32Array
    out: Float32Array | Uint16Array
    outDtype?: FloatDtype
    images: number
    height: number
    width: number
    channels: number
    kernelHeight: number
    kernelWidth: number
  }>
}

export interface NativeBinding {
  version: string
  /** Must equal INTERFACE in addon.ts. */
  interface: number
  backends(): NativeBackend[]
  /** Name and features of the backend that 'auto' would run on now: "avx512+vnni+bf16". Throws like load. */
  active(): string
  defaultThreads(): number
  loadModel(
    job: number,
    spec: ModelSpec,
    preprocess: PreprocessSpec,
    options: NativeLoadOptions,
  ): Promise<NativeModel>
  /** Reads all weights to compute their hashes, without packing them. Cancelled by cancelLoad. */
  nameWeights(job: number, spec: ModelSpec, preprocess: PreprocessSpec, threads: number): Promise<WeightNames>
  cancelLoad(job: number): void
  kernels: NativeKernels
  openTokenizer(a: NativeTokenizerSettings & NativeVocabulary): Promise<NativeTokenizer>
  openMatrix(a: {
    file: string
    offset: number
    rows: number
    dim: number
    dtype: RowDtype
  }): Promise<NativeMatrix>
  /** Whether sharp's libvips is in this process, which decodeScaled needs. */
  canDecodeScaled(): boolean
  /**
   * Decodes a JPEG at 1 / scale of its size into `out`, on Node's worker threads. Resolves to the width of what `out` then
   * holds (the height, if it was turned by 90 degrees), or to 0 if libvips refuses the file or the time is over.
   */
  decodeScaled(a: {
    /** Nobody else has them. */
    bytes: Uint8Array
    scale: 2 | 4 | 8
    /** Turn the image as its EXIF orientation says. */
    turn: boolean
    /** Of the result before it is turned. */
    width: number
    height: number
    /** 1 grey, 3 RGB, 4 CMYK. */
    channels: number
    out: Uint8Array
    milliseconds: number
  }): Promise<number>
  /** Only with CLIP_TEST_ENTRIES, like the kernels of NativeTestKernels. */
  measure?: NativeMeasure
  learn: NativeLearn
  cuda: NativeCuda
}

/** Hashes of the values of each tower's weights; empty for a tower that the checkpoint lacks. */
export interface WeightNames {
  image: string
  text: string
}

export interface NativeLoadOptions {
  device: 'auto' | 'cpu' | 'cuda' | 'reference'
  dtype: Dtype
  threads: number
  maxBatchRows: number
  /** The checkpoint's towers that are not loaded; they are read once, to compute their hashes. */
  unloaded?: ModelSpec
  /** Keeps packed weights in a file of this folder. */
  packCache?: {
    folder: string
    /** Name of the file, to which native code appends backend and dtype. */
    name: string
    /** Everything else that the packed bytes depend on; it is compared with the key in the file. */
    key: string
  }
}

/** The settings of a tokenizer in tokenizer_config.json and from the family; a setting may be absent. */
export interface NativeTokenizerSettings {
  /** A class of transformers: lib/tokenizer/spec.ts. */
  class: string
  lowercase?: boolean | undefined
  ideographs?: boolean | undefined
  accents?: boolean | undefined
  prefixSpace?: boolean | undefined
  startsWithBos?: boolean | undefined
  endsWithEos?: boolean | undefined
  legacyLanguage?: boolean | undefined
  language?: string | undefined
  bos?: string | undefined
  eos?: string | undefined
  unk?: string | undefined
  sep?: string | undefined
  pad?: string | undefined
  cls?: string | undefined
  mask?: string | undefined
  /** Replaces the added tokens of tokenizer.json. */
  added?: NativeAddedToken[]
  /** Special tokens that get an id if the vocabulary lacks them. */
  extra?: string[]
}

export interface NativeAddedToken {
  content: string
  id: number
  singleWord: boolean
  lstrip: boolean
  rstrip: boolean
  normalized: boolean
  special?: boolean
}

/** The bytes of a vocabulary's file, which are detached. */
export interface NativeVocabulary {
  /** For messages. */
  file: string
  format: 'json' | 'sentencePiece' | 'lines' | 'merges'
  bytes: Uint8Array
  /** With format 'merges' only. */
  mergesFile?: string
  merges?: Uint8Array
}

/** A vocabulary that has been read: native/tokenizer/. */
export interface NativeTokenizer {
  /** 'Unigram', 'BPE', 'WordPiece', ...: for messages. */
  readonly kind: string
  /** One more than the largest id. */
  readonly size: number
  /** The ids at the beginning and at the end of every text. */
  readonly prefix: Int32Array
  readonly suffix: Int32Array
  readonly padId: number
  /** -1 if the vocabulary has none. */
  readonly sepId: number
  readonly eosId: number
  readonly unkId: number
  /**
   * The texts are UTF-8, one after the other; text i ends at ends[i]. Writes the first `room` ids of each text, and the
   * number of its ids, without prefix and suffix. With `special`, special tokens that are spelt out in a text are found.
   */
  encode(a: {
    bytes: Uint8Array
    ends: Int32Array
    texts: number
    special: boolean
    room: number
    ids: Int32Array
    counts: Int32Array
  }): Promise<void>
  /** The same for one text, on this thread. */
  encodeNow(text: string, special: boolean): Int32Array
  isId(id: number): boolean
  /** The text of ids, each of which must be in the vocabulary. */
  decode(ids: Int32Array): string
}

/** An open matrix in a file. */
export interface NativeMatrix {
  /** Like NativeKernels.cosineTopK, over the rows of the file. */
  topK(a: {
    job: number
    queries: Float32Array
    index: Int32Array
    value: Float32Array
    rows: number
    k: number
    logitScale: number
    as: KernelScoreKind
    logitBias?: number
    threads: number
    backend: string | undefined
  }): Promise<string>
  cancel(job: number): void
  /** Later calls reject with ERR_CLIP_DISPOSED; the file is closed when the running calls are done. */
  close(): void
}

/** The outcome of a fit. */
export interface NativeFit {
  /** Value of the objective. */
  loss: number
  /** Euclidean norm of its gradient. */
  gradientNorm: number
  iterations: number
  /** False if maxIterations were not enough. */
  converged: boolean
}

/** Learning on features: native/learn/. */
export interface NativeLearn {
  /**
   * Multinomial logistic regression; writes weights (classes, width) and bias (classes), whose initial values are the
   * starting point.
   */
  logistic(
    job: number,
    a: {
      features: Float32Array
      labels: Int32Array
      rows: number
      width: number
      classes: number
      c: number
      maxIterations: number
      weights: Float32Array
      bias: Float32Array
      threads: number
      backend?: string | undefined
    },
  ): Promise<NativeFit>
  /** Trains `keys` in place; resolves to the mean loss of the last epoch. */
  tipAdapter(
    job: number,
    a: NativeTraining & {
      features: Float32Array
      labels: Int32Array
      classes: Float32Array
      keys: Float32Array
      owners: Int32Array
      rows: number
      dim: number
      classCount: number
      keyCount: number
      logitScale: number
      alpha: number
      beta: number
    },
  ): Promise<number>
  /** Trains both projections in place. */
  contrastive(
    job: number,
    a: NativeTraining & {
      images: NativeSide
      texts: NativeSide
      pairs: number
      embedDim: number
      logitScale: number
    },
  ): Promise<{ logitScale: number; loss: number }>
  cancel(job: number): void
}

export interface NativeTraining {
  epochs: number
  batch: number
  rate: number
  weightDecay: number
  seed: number
  threads: number
  backend?: string | undefined
}

/** One tower's frozen features, and the projection (embedDim, width) that is trained on them. */
export interface NativeSide {
  features: Float32Array
  width: number
  projection: Float32Array
  bias?: Float32Array
}

/** A GPU, and the form of the kernels that it runs. */
export interface CudaDevice {
  /** As NVIDIA's driver names it. */
  name: string
  /** Differs for each build of the kernels, version of the driver and kind of device. */
  fingerprint: string
  /** The form of the kernels that runs: machine code ("sm_90"), or "compute_80" compiled by the driver. */
  image: string
  /** Newest version of CUDA that the driver supports: 13000 is 13.0. */
  driver: number
  /** Compute capability times 10. */
  capability: number
  /** Total memory in bytes. */
  memory: number
}

export interface KernelCheck {
  kernel: string
  /** The first number that is off by more than its bound; empty if none is. */
  difference: string
}

/** A kernel on one shape. */
export interface KernelTiming {
  kernel: string
  shape: string
  /** Useful floating-point operations of a launch. */
  flops: number
  /** Bytes that a launch must read and write, each counted once. */
  bytes: number
  /** Whether tensor cores do the arithmetic. */
  tensor: boolean
  /** Time of one launch in a graph of several launches: the fastest of several rounds. */
  microseconds: number
}

/** A GPU that the driver lists. */
export interface CudaListed {
  index: number
  name: string
  /** Compute capability times 10. */
  capability: number
  /** Total memory in bytes. */
  memory: number
  /** Why the kernels can't run on it; empty if they can. */
  reason: string
}

/** Methods reject with ERR_CLIP_BACKEND if no GPU can run the kernels, and with ERR_CLIP_CUDA if a GPU fails. */
export interface NativeCuda {
  /** All GPUs; none without a driver. Opens the driver. */
  devices(): CudaListed[]
  /** Whether the process still lacks the compiled kernels. Without them, the methods below reject with ERR_CLIP_INTERNAL. */
  wantsKernels(): Promise<boolean>
  /**
   * Passes the inflated contents of cuda/images to native code; the arrays must not be changed afterwards. If the process has
   * kernels already, these are dropped. `name` is different for each build of the kernels.
   */
  giveKernels(a: { machineCode: Uint8Array; ptx: Uint8Array; name: string }): Promise<void>
  /** The GPU that 'cuda' stands for. Loads the kernels onto it, which takes some milliseconds. */
  identify(): Promise<CudaDevice>
  /** Runs every kernel once, on small shapes, and compares with reference. Cancelled by cancelLoad. */
  check(job: number): Promise<KernelCheck[]>
  /**
   * Runs every kernel on shapes of models for about `seconds` each. With `small`, the shapes are small enough for an
   * emulator. Cancelled by cancelLoad.
   */
  time(job: number, seconds: number, small: boolean): Promise<KernelTiming[]>
}

/** The times of all calls of one operation with one shape. */
export interface OpTimes {
  /** Its name in the table of backends (native/backend.h). */
  op: string
  rows: number
  /** Numbers of inputs and outputs per row, 0 if the operation has no such size; for attention, keys and heads * headDim. */
  in: number
  out: number
  dtype: RowDtype
  /** Bytes per packed weight: 2 if a float32 product reads float16 weights, 0 if there are no weights. */
  weightBytes: number
  /** The time of each call, in their order. */
  seconds: Float32Array
}

/** A case of an op, for tests and benchmarks. */
export interface NativeCase {
  name: string
  /** Whether test/kernels runs it on every backend. */
  tested: boolean
  timed: boolean
  /** Named like the arguments of the op's kernel call. */
  sizes: Record<string, number>
  /** Lists that the sizes stand for, such as the parents of a tree, named likewise. */
  lists: Record<string, Int32Array>
}

/** Entries that only benchmarks call, for measurements that the public kernels don't allow. */
export interface NativeMeasure {
  /**
   * Operations (multiplications and additions) per second of one thread, with operands in registers; 0 if the CPU has no such
   * instruction.
   */
  peak(a: { dtype: RowDtype }): Promise<number>
  /** Bytes per second that so many threads together read from memory, past every cache; takes 256 MB. */
  stream(a: { threads: number }): Promise<number>
  /**
   * With `on`, models that are loaded from now on measure the time of their operations (on the first backend only). Returns
   * the measurements since the last call.
   */
  profile(a: { on: boolean }): OpTimes[]
  /** The cases of an op, from native/ops: what tests and benchmarks run. */
  cases(a: { op: string }): NativeCase[]
  /**
   * Processor time of the calling thread in milliseconds. It measures the cost of a turn of the event loop however busy the
   * machine is.
   */
  threadTime(): number
  /**
   * Milliseconds of each run on weights that are packed once; run i reads copy i % copies, so that weights come from memory.
   * Resolves to the backend's name.
   */
  linear(a: {
    rows: number
    inFeatures: number
    outFeatures: number
    dtype: RowDtype
    /** The format in which the weights are stored; default `dtype`. With float32 rows it may be float16. */
    weightDtype?: Dtype
    threads: number
    copies: number
    backend: string | undefined
    times: Float32Array
  }): Promise<string>
}
