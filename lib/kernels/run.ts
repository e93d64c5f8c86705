/** The options that all kernels share, and the code that runs them. */

import { argumentError } from '../base/errors.js'
import { binding, fromNative } from '../native/addon.js'
import { handOverKernels } from '../native/compiled-kernels.js'
import type { NativeKernels } from '../native/surface.js'
import { count } from './arguments.js'

/** Options of every kernel. */
export interface KernelOptions {
  /**
   * The name of a backend that `devices()` lists: 'avx512', 'avx2', 'neon', 'reference', ... Default: the best CPU backend
   * of this machine. 'cuda' copies the arrays to the GPU and the results back at every call.
   */
  backend?: string
  /** Number of threads, from 1 to 256. Default: the physical cores that this process may use. */
  threads?: number
}

export async function run<K extends keyof NativeKernels>(
  op: K,
  a: Parameters<NativeKernels[K]>[0],
): Promise<string> {
  if (a.backend === 'cuda') await handOverKernels()
  return fromNative(() =>
    (binding().kernels[op] as (a: Parameters<NativeKernels[K]>[0]) => Promise<string>)(a),
  )
}

export function options(a: KernelOptions): { threads: number; backend: string | undefined } {
  if (a.backend !== undefined && typeof a.backend !== 'string')
    throw argumentError('backend', 'be a string', a.backend)
  if (a.backend !== undefined && !/^[\w+-]{1,64}$/.test(a.backend))
    throw argumentError('backend', 'be the name of a backend', a.backend, 'range')
  const threads = a.threads === undefined ? binding().defaultThreads() : count('threads', a.threads, 256)
  return { threads: Math.min(threads, 256), backend: a.backend }
}
