/**
 * Everything that the addon has, as types: the twin of native/binding. Nothing here runs; lib/native/addon.ts loads the
 * addon, and lib/native/jobs.ts starts and cancels what it does.
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
  /** Unit round-off per dtype: what the tests' bounds are made of. */
  epsilon: Partial<Record<Dtype, number>>
  borrowed: string
}

/** `joint`: the tower has a projection into the joint space of embedDim numbers. `width`: of 'pooled' and 'tokens'. */
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
  /** What the outputs of the loaded towers measure. */
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
  /** What of an image of that size reaches the tower's input, resized with the model's filter. Takes microseconds. */
  reachingPart(width: number, height: number): ImagePart
  /**
   * ids of all texts one after the other, as the tokenizer gives them; lengths[i] tokens each. The tower computes the
   * rows that matter to it, and no others. 'tokens' fills as many rows as a text has, with zeros behind them up to the
   * longest.
   */
  encodeText(
    job: number,
    ids: Int32Array,
    lengths: Int32Array,
    output: 'embedding' | 'pooled' | 'tokens',
    normalize: boolean,
  ): Promise<Float32Array>
  /** How many rows encodeText's 'tokens' gives for each of these texts. */
  textTokens(ids: Int32Array, lengths: Int32Array): number
  cancel(job: number): void
  /** Running jobs finish, queued ones reject ERR_CLIP_DISPOSED; resolves when the memory is given back. */
  dispose(): Promise<void>
  /** Rows computed since load (textNodes: those of the tries, without what chunks computed again), passes and jobs run. */
  counters(): { textRows: number; textNodes: number; imageRows: number; passes: number; jobs: number }
}

/** What a score is: the softmax of the logits, logitScale * cosine (the original's logits_per_image), or the cosine. */
export type ScoreKind = 'probability' | 'logit' | 'cosine'

type Backend = string | undefined

/** Rows that an op writes: float32, bfloat16 (Uint16Array), or int8 (Uint8Array, with a scale and a zero per row). */
interface NarrowRows {
  out: Float32Array | Uint16Array | Uint8Array
  /** Default float32. */
  outDtype?: RowDtype
  scale?: Float32Array
  zero?: Int32Array
}

interface NativeScores {
  queries: Float32Array
  classes: Float32Array | Uint16Array | Int8Array
  /** Of the classes; default float32. */
  dtype?: RowDtype
  /** int8 only. */
  classScales?: Float32Array
  rows: number
  classCount: number
  dim: number
  logitScale: number
  as: 'probability' | 'logit' | 'cosine'
  threads: number
  backend: Backend
}

/** Every kernel resolves to the name of the backend that ran it: the tests check it. */
export interface NativeKernels {
  /** Shapes as in the public lib/kernels.ts, which checks them; `backend` undefined = the chosen CPU backend. */
  attention(a: {
    q: Float32Array | Uint16Array
    k: Float32Array | Uint16Array
    v: Float32Array | Uint16Array
    out: Float32Array | Uint16Array
    /** Of q, k and v; default float32. */
    dtype?: FloatDtype
    /** Default: dtype. */
    outDtype?: FloatDtype
    sequences: number
    length: number
    heads: number
    headDim: number
    mask: 'full' | 'causal' | 'tree'
    /** tree only: (sequences * length) parents, -1 at roots, relative to the whole row list. */
    parent?: Int32Array
    /** Rows that ask; all when absent. `out` then has that many rows. */
    queryRow?: Int32Array
    threads: number
    backend: Backend
  }): Promise<string>
  linear(a: {
    x: Float32Array
    weight: Float32Array
    bias?: Float32Array
    residual?: Float32Array
    out: Float32Array | Uint16Array
    rows: number
    inFeatures: number
    outFeatures: number
    /** relu, of the residual as well, is for tests only: the ResNets'. */
    activation: 'none' | 'quickGelu' | 'gelu' | 'relu'
    /** x and weight are converted to this first; default float32. */
    dtype?: RowDtype
    /**
     * How the weights are stored; default `dtype`. For tests only: 'float16', of weights that float16 holds exactly, with
     * rows of float32, as a float32 model keeps them.
     */
    weightDtype?: Dtype
    /** bfloat16: out is a Uint16Array. */
    outDtype?: FloatDtype
    threads: number
    backend: Backend
  }): Promise<string>
  layerNorm(a: {
    x: Float32Array
    weight: Float32Array
    bias: Float32Array
    out: NarrowRows['out']
    outDtype?: NarrowRows['outDtype']
    scale?: NarrowRows['scale']
    zero?: NarrowRows['zero']
    rows: number
    cols: number
    epsilon: number
    threads: number
    backend: Backend
  }): Promise<string>
  cosineSoftmax(a: NativeScores & { out: Float32Array }): Promise<string>
  cosineTopK(a: NativeScores & { index: Int32Array; value: Float32Array; k: number }): Promise<string>
  /** values: loss and its derivative by the scale. Without imagesGradient and textsGradient the loss alone. */
  infoNce(a: {
    images: Float32Array
    texts: Float32Array
    rows: number
    dim: number
    logitScale: number
    values: Float64Array
    imagesGradient?: Float32Array
    textsGradient?: Float32Array
    threads: number
    backend: Backend
  }): Promise<string>
  /** mean: one number, of the rows that count. Without gradient the losses alone; scale: default 1 / the rows that count. */
  softmaxCrossEntropy(a: {
    logits: Float32Array | Uint16Array | Int8Array
    /** Of the logits; default float32. */
    dtype?: 'float32' | 'bfloat16' | 'int8'
    targets: Int32Array
    /** Rows with 0 do not count. */
    mask?: Uint8Array
    loss: Float32Array
    mean: Float64Array
    gradient?: Float32Array | Uint16Array
    outDtype?: 'float32' | 'bfloat16'
    scale?: number
    rows: number
    cols: number
    threads: number
    backend: Backend
  }): Promise<string>
  resize(a: {
    src: Uint8Array
    width: number
    height: number
    channels: number
    out: Uint8Array
    outWidth: number
    outHeight: number
    crop: { x: number; y: number; width: number; height: number }
    filter: 'nearest' | 'bilinear' | 'bicubic'
    threads: number
    backend: Backend
  }): Promise<string>
}

/** What only tests call. The addon has it if it was built with the CMake option CLIP_TEST_ENTRIES: see test-entries.ts. */
export interface NativeTestKernels {
  /** resizeAndCrop of native/model/image.h, then its normalize table: one image to (3, size, size) floats. */
  preprocess(a: {
    image: NativeImage
    preprocess: PreprocessSpec
    out: Float32Array
    threads: number
    backend: Backend
  }): Promise<string>
  /** The ops that have no public kernel. */
  embed(a: {
    table: Float32Array
    ids: Int32Array
    positions: Float32Array
    position: Int32Array
    out: Float32Array
    rows: number
    cols: number
    threads: number
    backend: Backend
  }): Promise<string>
  cast(
    a: NarrowRows & {
      x: Float32Array
      rows: number
      cols: number
      threads: number
      backend: Backend
    },
  ): Promise<string>
  gather(a: {
    x: Float32Array
    row: Int32Array
    out: Float32Array
    count: number
    cols: number
    threads: number
    backend: Backend
  }): Promise<string>
  normalise(a: {
    x: Float32Array
    out: Float32Array
    rows: number
    cols: number
    threads: number
    backend: Backend
  }): Promise<string>
  patches(a: {
    pixels?: Uint8Array
    value?: Float32Array
    planes?: Float32Array
    out: Float32Array | Uint16Array
    outDtype?: FloatDtype
    images: number
    size: number
    patch: number
    threads: number
    backend: Backend
  }): Promise<string>
  /** max(0, convolution + bias): x (images, height, width, inChannels), weight (outChannels, kernel, kernel, inChannels). */
  conv(a: {
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
    threads: number
    backend: Backend
  }): Promise<string>
  /** Mean of windows side by side: x (images, height, width, channels). */
  pool(a: {
    x: Float32Array
    out: Float32Array | Uint16Array
    outDtype?: FloatDtype
    images: number
    height: number
    width: number
    channels: number
    kernelHeight: number
    kernelWidth: number
    threads: number
    backend: Backend
  }): Promise<string>
}

export interface NativeBinding {
  version: string
  /** Twin of INTERFACE below. */
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
  /** Reads all weights for their names, without packing them. Cancelled by cancelLoad. */
  nameWeights(job: number, spec: ModelSpec, preprocess: PreprocessSpec, threads: number): Promise<WeightNames>
  cancelLoad(job: number): void
  kernels: NativeKernels
  openMatrix(a: {
    file: string
    offset: number
    rows: number
    dim: number
    dtype: RowDtype
  }): Promise<NativeMatrix>
  /** With CLIP_TEST_ENTRIES only, as the kernels of NativeTestKernels. */
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
  /** The checkpoint's towers that are not wanted: read once, for their names. */
  unloaded?: ModelSpec
  /** Keeps packed weights in a file of this folder. */
  packCache?: {
    folder: string
    /** Of the file; backend and dtype are put behind it. */
    name: string
    /** What else the packed bytes depend on: compared with what the file says. */
    key: string
  }
}

/** A matrix in a file, open. */
export interface NativeMatrix {
  /** As NativeKernels.cosineTopK, over the rows of the file. */
  topK(a: {
    job: number
    queries: Float32Array
    index: Int32Array
    value: Float32Array
    rows: number
    k: number
    logitScale: number
    as: 'probability' | 'logit' | 'cosine'
    threads: number
    backend: string | undefined
  }): Promise<string>
  cancel(job: number): void
  /** Later calls reject ERR_CLIP_DISPOSED; the file is closed when those that run are done. */
  close(): void
}

/** How a fit ended. */
export interface NativeFit {
  /** Value of the objective. */
  loss: number
  /** Euclidean norm of its gradient. */
  gradientNorm: number
  iterations: number
  /** False: maxIterations were not enough. */
  converged: boolean
}

/** Learning on features: native/learn/. */
export interface NativeLearn {
  /** Multinomial logistic regression; writes weights (classes, width) and bias (classes), which say where to start. */
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

/** A GPU, and who compiles for it. */
export interface CudaDevice {
  /** As NVIDIA's driver names it. */
  name: string
  /** Changes with our kernels, the driver and the kind of device. */
  fingerprint: string
  /** What of our kernels runs: machine code ("sm_90"), or "compute_80" compiled by the driver. */
  image: string
  /** Newest CUDA that the driver knows: 13000 is 13.0. */
  driver: number
  /** Compute capability times 10. */
  capability: number
  /** Bytes. */
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
  /** Arithmetic of use of a launch. */
  flops: number
  /** What a launch must read and write, each once. */
  bytes: number
  /** Whether tensor cores do the arithmetic. */
  tensor: boolean
  /** Of a launch out of a graph of several: the fastest of several rounds. */
  microseconds: number
}

/** A GPU that the driver lists. */
export interface CudaListed {
  index: number
  name: string
  /** Compute capability times 10. */
  capability: number
  /** Bytes. */
  memory: number
  /** Why our kernels can't run there; empty if they can. */
  reason: string
}

/** Rejects ERR_CLIP_BACKEND where there is no GPU that runs our kernels, ERR_CLIP_CUDA where one fails. */
export interface NativeCuda {
  /** Every GPU; none where there is no driver. Opens the driver. */
  devices(): CudaListed[]
  /** Whether the process still lacks the compiled kernels: what follows rejects ERR_CLIP_INTERNAL without them. */
  wantsKernels(): Promise<boolean>
  /**
   * Hands over what cuda/images has, inflated: the arrays are not to be changed any more. Once there are kernels, others
   * are dropped. `name` is different for each build of the kernels.
   */
  giveKernels(a: { machineCode: Uint8Array; ptx: Uint8Array; name: string }): Promise<void>
  /** The device that 'cuda' means here. Loads the kernels onto it: some milliseconds. */
  identify(): Promise<CudaDevice>
  /** Runs every kernel once, on small shapes, and compares with reference. Cancelled by cancelLoad. */
  check(job: number): Promise<KernelCheck[]>
  /**
   * Runs every kernel on shapes of models for about `seconds` each. small: shapes that an emulator gets through.
   * Cancelled by cancelLoad.
   */
  time(job: number, seconds: number, small: boolean): Promise<KernelTiming[]>
}

/** Every call of one operation with one shape. */
export interface OpTimes {
  /** Its name in the table of backends (native/backend.h). */
  op: string
  rows: number
  /** Inputs and outputs per row; 0 where it has no such size. attention: keys, and heads * headDim. */
  in: number
  out: number
  dtype: RowDtype
  /** Of each packed weight: 2 where a float32 product reads float16 ones. 0: it has none. */
  weightBytes: number
  /** Of each call, in their order. */
  seconds: Float32Array
}

/** A case of an op. */
export interface NativeCase {
  name: string
  /** On every backend, by test/kernels. */
  tested: boolean
  timed: boolean
  /** Named as the arguments of the op's kernel call. */
  sizes: Record<string, number>
}

/** What only benchmarks call: what no public kernel gives. */
export interface NativeMeasure {
  /** Operations (multiplications and additions) per second of one thread, operands in registers; 0 where there is no such instruction. */
  peak(a: { dtype: RowDtype }): Promise<number>
  /** Bytes per second that so many threads together read from memory, past every cache; takes 256 MB. */
  stream(a: { threads: number }): Promise<number>
  /**
   * on: models that are loaded from now on take the time of their operations (the first backend only). Returns what was
   * taken since the last call.
   */
  profile(a: { on: boolean }): OpTimes[]
  /** The cases of an op, from native/ops: what tests and benchmarks run. */
  cases(a: { op: string }): NativeCase[]
  /** Milliseconds that the calling thread has computed: what a turn of the event loop costs, however busy the machine is. */
  threadTime(): number
  /** ms of each run on weights packed once; run i reads copy i % copies, so that weights come from memory. The backend's name. */
  linear(a: {
    rows: number
    inFeatures: number
    outFeatures: number
    dtype: RowDtype
    /** How the weights are stored; default `dtype`. With float32 rows it may be float16. */
    weightDtype?: Dtype
    threads: number
    copies: number
    backend: string | undefined
    times: Float32Array
  }): Promise<string>
}
