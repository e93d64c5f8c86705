/** What a model computes in: float16 on CUDA only. */
export type Dtype = 'float32' | 'float16' | 'bfloat16' | 'int8'
