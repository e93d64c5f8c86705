/**
 * The entries of the addon that only tests and benchmarks call. `npm run build` includes them; addons of the package are built
 * with CLIP_TEST_ENTRIES=OFF and lack them.
 */

import { ClipError } from '../base/errors.js'
import { binding } from './addon.js'
import type { NativeBinding, NativeKernels, NativeMeasure, NativeTestKernels } from './surface.js'

/** The addon with everything that a source build has. */
export interface NativeTestBinding extends NativeBinding {
  kernels: NativeKernels & NativeTestKernels
  measure: NativeMeasure
}

export const hasTestEntries = (): boolean => binding().measure !== undefined

/** Throws ERR_CLIP_BACKEND if the addon was built without them. */
export function testEntries(): NativeTestBinding {
  if (hasTestEntries()) return binding() as NativeTestBinding
  throw new ClipError(
    'ERR_CLIP_BACKEND',
    'This addon was built without the entries that tests and benchmarks need: build it with npm run build:native, and unset CLIP_NATIVE_ADDON',
    { field: 'CLIP_TEST_ENTRIES', expected: 'ON', actual: 'OFF' },
  )
}
