/** The part of the native surface that only benchmarks use. */

/** Every call of one operation with one shape. */
export interface OpTimes {
  /** Its name in the table of backends (native/backend.h). */
  op: string
  rows: number
  /** Inputs and outputs per row; 0 where it has no such size. attention: keys, and heads * headDim. */
  in: number
  out: number
  dtype: 'float32' | 'bfloat16' | 'int8'
  /** Of each packed weight: 2 where a float32 product reads float16 ones. 0: it has none. */
  weightBytes: number
  /** Of each call, in their order. */
  seconds: Float32Array
}

/** For benchmarks only: what no public kernel gives. */
export interface NativeMeasure {
  /** Operations (multiplications and additions) per second of one thread, operands in registers; 0 where there is no such instruction. */
  peak(a: { dtype: 'float32' | 'bfloat16' | 'int8' }): Promise<number>
  /** Bytes per second that so many threads together read from memory, past every cache; takes 256 MB. */
  stream(a: { threads: number }): Promise<number>
  /**
   * on: models that are loaded from now on take the time of their operations (the first backend only). Returns what was
   * taken since the last call.
   */
  profile(a: { on: boolean }): OpTimes[]
  /** Milliseconds that the calling thread has computed: what a turn of the event loop costs, however busy the machine is. */
  threadTime(): number
  /** ms of each run on weights packed once; run i reads copy i % copies, so that weights come from memory. The backend's name. */
  linear(a: {
    rows: number
    inFeatures: number
    outFeatures: number
    dtype: 'float32' | 'bfloat16' | 'int8'
    /** Of float32: weights kept in float16. */
    float16Weights?: boolean
    threads: number
    copies: number
    backend: string | undefined
    times: Float32Array
  }): Promise<string>
}
