/** The names of number formats, which are the same as in native/dtypes.h. */

/** The dtypes with which a model can be loaded. */
export const modelDtypes = ['float32', 'float16', 'bfloat16', 'int8'] as const

/** The dtypes in which a model computes; float16 only on CUDA. */
export type Dtype = 'float32' | 'float16' | 'bfloat16' | 'int8'

/** The dtypes of the rows of a matrix that kernels read, such as vectors of a store, classes or weights. */
export const rowDtypes = ['float32', 'bfloat16', 'int8'] as const
export type RowDtype = (typeof rowDtypes)[number]

/** The dtypes of rows that consist of floating-point numbers. */
export type FloatDtype = 'float32' | 'bfloat16'
