/** The part of the native surface that only benchmarks use. */

/** For benchmarks only: what no public kernel gives. */
export interface NativeMeasure {
  /** Operations (multiplications and additions) per second of one thread, operands in registers; 0 where there is no such instruction. */
  peak(a: { dtype: 'float32' | 'bfloat16' | 'int8' }): Promise<number>
  /** ms of each run on weights packed once; run i reads copy i % copies, so that weights come from memory. The backend's name. */
  linear(a: {
    rows: number
    inFeatures: number
    outFeatures: number
    dtype: 'float32' | 'bfloat16' | 'int8'
    threads: number
    copies: number
    backend: string | undefined
    times: Float32Array
  }): Promise<string>
}
