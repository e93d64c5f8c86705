/** How numbers are stored: the same names as in native/dtypes.h. */

/** What a model can be loaded with. */
export const modelDtypes = ['float32', 'float16', 'bfloat16', 'int8'] as const

/** What a model computes in: float16 on CUDA only. */
export type Dtype = 'float32' | 'float16' | 'bfloat16' | 'int8'

/** What the rows of a matrix can be that a kernel reads: vectors of a store, classes, weights. */
export const rowDtypes = ['float32', 'bfloat16', 'int8'] as const
export type RowDtype = (typeof rowDtypes)[number]

/** What rows can be that are no bytes with a scale. */
export type FloatDtype = 'float32' | 'bfloat16'
