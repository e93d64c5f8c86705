/**
 * Decides where packed weights are cached, and which file belongs to which checkpoint. Native code reads, checks and writes
 * the files (native/model/pack_cache.h).
 */

import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { cacheFolders } from '../base/cache-folders.js'
import { makeFolder } from '../base/make-folder.js'
import { version } from '../base/package.js'
import { openSource, timesOf } from '../checkpoint/source-file.js'
import { INTERFACE } from '../native/addon.js'
import type { ModelSpec } from '../native/spec.js'
import type { NativeLoadOptions, NativeModel } from '../native/surface.js'

/** The outcome of `packCache: true`; 'off' without it, or if the weights are not in main memory (CUDA). */
export type PackCacheUse = NativeModel['packCache']['use']

const digest = (value: unknown) => createHash('sha256').update(JSON.stringify(value)).digest('hex')

const SAMPLES = 256
const SAMPLE_BYTES = 4096
const TOGETHER = 64

/**
 * A digest of some of the weights, because modification times alone would miss a change by a copy that preserves times, or
 * by a clock that does not advance.
 */
async function samples(spec: ModelSpec): Promise<string> {
  const hash = createHash('sha256')
  for (const path of spec.files) {
    const file = await openSource(path)
    try {
      const bytes = Math.min(SAMPLE_BYTES, file.bytes)
      const step = (file.bytes - bytes) / (SAMPLES - 1)
      // Many reads at once: libuv's threads wait for the disk, and each separate wait would cost a fifth of a millisecond.
      for (let i = 0; i < SAMPLES; i += TOGETHER) {
        const reads = Array.from({ length: TOGETHER }, (_, k) => file.read(Math.floor((i + k) * step), bytes))
        for (const sample of await Promise.all(reads)) hash.update(sample)
      }
    } finally {
      await file.close()
    }
  }
  return hash.digest('hex').slice(0, 32)
}

/**
 * The folder, file name and key for these weights. If the checkpoint changes, the name stays the same, so that its file is
 * replaced, but the key, which is stored in the file, changes. Native code adds backend, dtype and layout to both. A folder
 * that can't be created is reported when the file is written.
 */
export async function packCacheFor(
  spec: ModelSpec,
  unloaded: ModelSpec | undefined,
  cacheDir: string | undefined,
): Promise<NonNullable<NativeLoadOptions['packCache']>> {
  const folder = join(cacheFolders({ cacheDir, env: process.env }).own, 'packed')
  await makeFolder(folder, 0o700).catch(() => undefined)
  // Determined before native code opens the files: if a file is replaced
  // in between, its weights are stored under the old time and never found.
  const times = await Promise.all(spec.files.map(timesOf))
  const towers = (['image', 'text'] as const).filter(tower => spec[tower]).join('+')
  const build = `${version} ${INTERFACE} ${process.platform} ${process.arch}`
  return {
    folder,
    name: `${digest([spec.files, build]).slice(0, 24)}-${towers}`,
    key: `${build} ${await samples(spec)} ${digest([spec, unloaded, times])}`,
  }
}

let warned = false

/** Loading continues without the file. The first time in a process, a warning gives the reason. */
export function warnOfPackCache({ use, file, reason }: NativeModel['packCache']): void {
  if (use !== 'failed' || warned) return
  warned = true
  process.emitWarning(`packCache: ${file} ${reason}; the next start packs the weights again`, {
    type: 'ClipWarning',
    code: 'CLIP_PACK_CACHE',
  })
}
