/** The part of the native surface that learns: native/learn/. */

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
