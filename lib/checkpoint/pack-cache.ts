/**
 * Where packed weights are kept, and what they are called. Native code reads, checks and writes the files
 * (native/model/pack_cache.h); here is decided which file belongs to which checkpoint.
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

/** What `packCache: true` came to; 'off' without it, or where weights are not in plain memory (CUDA). */
export type PackCacheUse = NativeModel['packCache']['use']

const digest = (value: unknown) => createHash('sha256').update(JSON.stringify(value)).digest('hex')

const SAMPLES = 256
const SAMPLE_BYTES = 4096
const TOGETHER = 64

/**
 * A digest of some of the weights: times alone would not show what a copy with its times kept, or a clock that stood
 * still, has changed.
 */
async function samples(spec: ModelSpec): Promise<string> {
  const hash = createHash('sha256')
  for (const path of spec.files) {
    const file = await openSource(path)
    try {
      const bytes = Math.min(SAMPLE_BYTES, file.bytes)
      const step = (file.bytes - bytes) / (SAMPLES - 1)
      // Many at once: libuv's threads wait for a disk, and each wait of ours for them costs a fifth of a millisecond.
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
 * The file's place, name and key for these weights. The name stays the same when the checkpoint changes, so that its
 * file is replaced; the key, which is compared inside the file, does not. Native code adds backend, dtype and layout to
 * both. A folder that can't be made is found out when the file is written.
 */
export async function packCacheFor(
  spec: ModelSpec,
  unloaded: ModelSpec | undefined,
  cacheDir: string | undefined,
): Promise<NonNullable<NativeLoadOptions['packCache']>> {
  const folder = join(cacheFolders({ cacheDir, env: process.env }).own, 'packed')
  await makeFolder(folder, 0o700).catch(() => undefined)
  // Taken before native code opens the files: what is replaced in
  // between is stored under the old time, and never found.
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

/** Loading goes on without the file. The first time in a process, a warning says why there is none. */
export function warnOfPackCache({ use, file, reason }: NativeModel['packCache']): void {
  if (use !== 'failed' || warned) return
  warned = true
  process.emitWarning(`packCache: ${file} ${reason}; the next start packs the weights again`, {
    type: 'ClipWarning',
    code: 'CLIP_PACK_CACHE',
  })
}
