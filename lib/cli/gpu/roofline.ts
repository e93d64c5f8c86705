/** The roofline of a kernel on a GPU: the larger of FLOPs / peak and bytes / bandwidth. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../base/package.js'
import type { KernelTiming } from '../../native/surface.js'

/** Rates of a GPU per second, from its data sheet (cuda/gpus.json), not measured. */
export interface Gpu {
  name: string
  /** As NVIDIA's driver names it. */
  device: string
  /** FLOPs of bfloat16 products with float32 sums, without sparsity. */
  tensor: number
  /** FLOPs of float32 without tensor cores. */
  plain: number
  /** Bytes of device memory. */
  bytes: number
  source: string
}

/** The GPU of that name; undefined for those whose rates are not in the list. */
export function gpuOf(device: string): Gpu | undefined {
  const all = JSON.parse(readFileSync(join(packageRoot, 'cuda', 'gpus.json'), 'utf8')) as Gpu[]
  return all.find(gpu => gpu.device === device)
}

/** The minimum time of a launch in microseconds, if its data comes from device memory. */
export function leastMicroseconds(
  gpu: Gpu,
  { flops, bytes, tensor }: Pick<KernelTiming, 'flops' | 'bytes' | 'tensor'>,
): number {
  return 1e6 * Math.max(flops / (tensor ? gpu.tensor : gpu.plain), bytes / gpu.bytes)
}
