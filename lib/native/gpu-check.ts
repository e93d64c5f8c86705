/**
 * Compares each kernel with the reference before the first model runs on a GPU, because not every GPU and driver has been
 * tried. A successful result is stored in the cache folder, by driver, kind of device and build of the kernels.
 */

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheFolders } from '../base/cache-folders.js'
import { ClipError } from '../base/errors.js'
import { makeFolder } from '../base/make-folder.js'
import { version } from '../base/package.js'
import { replaceFile } from '../base/replace-file.js'
import { binding, fromNative } from './addon.js'
import { handOverKernels } from './compiled-kernels.js'
import { cancellable } from './jobs.js'
import type { CudaDevice, KernelCheck, KernelTiming } from './surface.js'

/** The contents of the file, compared as a whole, so that a truncated file does not count. */
const verdict = (device: CudaDevice) =>
  `${JSON.stringify({ clipNative: version, device: device.name, fingerprint: device.fingerprint, kernels: 'equal to the reference' })}\n`

function fileFor(device: CudaDevice, cacheDir: string | undefined): { folder: string; file: string } {
  const folder = join(cacheFolders({ cacheDir, env: process.env }).own, 'cuda')
  const name = createHash('sha256').update(verdict(device)).digest('hex').slice(0, 24)
  return { folder, file: join(folder, `${name}.json`) }
}

/** Loads the kernels onto the GPU that 'cuda' stands for. Rejects as {@link checkDevice} does, except for kernels that differ. */
export async function identifyDevice(): Promise<CudaDevice> {
  await handOverKernels()
  return fromNative(() => binding().cuda.identify())
}

/**
 * Compares every kernel with the reference, whether or not a result is stored. Rejects as {@link checkDevice} does, except
 * for kernels that differ.
 */
export async function checkKernels(signal?: AbortSignal): Promise<KernelCheck[]> {
  const native = binding()
  return cancellable(
    signal,
    job => native.cuda.check(job),
    job => native.cancelLoad(job),
  )
}

/** Measures every kernel. Rejects as {@link checkDevice} does, except for kernels that differ. */
export async function timeKernels(
  seconds: number,
  small: boolean,
  signal?: AbortSignal,
): Promise<KernelTiming[]> {
  const native = binding()
  return cancellable(
    signal,
    job => native.cuda.time(job, seconds, small),
    job => native.cancelLoad(job),
  )
}

/**
 * Makes sure that the GPU computes the same as the reference, unless a stored result says so already.
 *
 * Rejects with a ClipError ERR_CLIP_CUDA naming the first kernel that differs, ERR_CLIP_BACKEND saying why there is no usable
 * GPU or which file of the package is missing, or ERR_CLIP_MEMORY if its memory is full; or with the signal's reason.
 */
export async function checkDevice(cacheDir: string | undefined, signal?: AbortSignal): Promise<void> {
  const device = await identifyDevice()
  const { folder, file } = fileFor(device, cacheDir)
  const known = await readFile(file, 'utf8').catch(() => '')
  if (known === verdict(device)) return
  const checks = await checkKernels(signal)
  const wrong = checks.find(c => c.difference)
  if (wrong)
    throw new ClipError(
      'ERR_CLIP_CUDA',
      `${device.name}: the kernel ${wrong.kernel} differs from the reference: ${wrong.difference}. ` +
        'Please report this with the output of `clip-native gpu-selfcheck`',
      { field: wrong.kernel, expected: 'the numbers of the reference', actual: wrong.difference },
    )
  // If the cache can't be written, the next start only has to repeat the check.
  await makeFolder(folder, 0o700)
    .then(() => replaceFile(file, handle => handle.writeFile(verdict(device)), { mode: 0o600 }))
    .catch(() => undefined)
}
