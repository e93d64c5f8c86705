/** The stand-in for NVIDIA's driver (cuda/emulator/libcuda), built beside the kernels' test program. */
import { dirname, join } from 'node:path'
import { build } from './program.js'

/** Builds it, or finds it up to date. Returns what CLIP_NATIVE_LIBCUDA is to be. */
export async function buildStandIn(): Promise<string> {
  return join(dirname(await build()), 'libcuda-standin.so')
}
