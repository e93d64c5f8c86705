/**
 * The small part of onnxruntime-node's interface that is used here. It is installed separately, so its own
 * types may be missing.
 */

export interface OrtTensor {
  data: Float32Array | BigInt64Array
}

export interface OrtSession {
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>
  release(): Promise<void>
}

export interface OrtModule {
  InferenceSession: { create(file: string, options: Record<string, unknown>): Promise<OrtSession> }
  Tensor: new (type: string, data: Float32Array | BigInt64Array, dims: number[]) => OrtTensor
}

/** Printed with every figure. */
export const ortSettings = (threads: number): string =>
  `onnxruntime-node, CPU provider, graphOptimizationLevel all, sequential, intraOpNumThreads ${threads}, its defaults otherwise (spinning, arena)`
