/** The part of the native surface that reads matrices from files. */

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
