/** Loads the addon, checks that it belongs to the same build as lib, and turns its errors into ClipErrors. */

import { join } from 'node:path'
import { ClipError, type ClipErrorCode, printable } from '../base/errors.js'
import { packageRoot, version } from '../base/package.js'
import { fromCaller } from '../base/stack.js'
import { addonError } from './addon-error.js'
import type { NativeBinding } from './surface.js'
import { checkWholeFile } from './whole-file.js'

/** Incremented with every change of lib/native/surface.ts; native/binding/addon.cc has the same number. */
export const INTERFACE = 12

/** For file tracers, which don't see the files that node-gyp-build finds in this folder. */
export const prebuiltAddons = join(__dirname, '../../../prebuilds')

let loaded: NativeBinding | undefined

/** The addon, loaded at first use. Throws ERR_CLIP_BACKEND with what was looked for, what its loader said, and what to do. */
export function binding(): NativeBinding {
  if (loaded) return loaded
  let file = process.env.CLIP_NATIVE_ADDON || undefined
  let native: NativeBinding
  try {
    file ??= (require('node-gyp-build') as { path(dir: string): string }).path(packageRoot)
    checkWholeFile(file)
    native = require(file)
  } catch (cause) {
    const { code, message } = cause as NativeError
    if (code === 'ERR_CLIP_MEMORY') throw new ClipError(code, message, { cause })
    throw addonError(packageRoot, file, cause as Error)
  }
  if (typeof native.interface !== 'number')
    throw new ClipError('ERR_CLIP_BACKEND', `${file} is a Node addon, but not clip-native's`, { file })
  if (native.interface !== INTERFACE || native.version !== version)
    throw new ClipError(
      'ERR_CLIP_BACKEND',
      `${file} is of clip-native ${native.version} (interface ${native.interface}), but ${__filename} is of ${version} (interface ${INTERFACE}). Install one of them again, or build both together: npm run build`,
      { file, expected: `${version}/${INTERFACE}`, actual: `${native.version}/${native.interface}` },
    )
  loaded = native
  return native
}

/** The errors of native code, which {@link fromNative} turns into ClipErrors with a JavaScript stack. */
interface NativeError extends Error {
  code: ClipErrorCode | 'ERR_CLIP_ABORTED'
  file?: string
  field?: string
  expected?: string
  actual?: string
  index?: number
}

/** Awaits a native promise; its failure becomes a ClipError whose stack names the caller. */
export async function fromNative<T>(start: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  try {
    return await start()
  } catch (error) {
    const e = error as NativeError
    if (e.code === 'ERR_CLIP_ABORTED') throw signal?.reason ?? error
    if (typeof e.code !== 'string' || !e.code.startsWith('ERR_CLIP_')) throw error
    // Errors of arguments are TypeErrors everywhere, with a stack of JavaScript.
    if (e.code === 'ERR_CLIP_INPUT')
      throw fromCaller(
        Object.assign(new TypeError(printable(e.message)), {
          code: e.code,
          field: e.field,
          ...(e.index === undefined ? {} : { index: e.index }),
        }),
      )
    throw new ClipError(e.code, e.message, {
      file: e.file,
      field: e.field,
      expected: e.expected,
      actual: e.actual,
      index: e.index,
      cause: e,
    })
  }
}
