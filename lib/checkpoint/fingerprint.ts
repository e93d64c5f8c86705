/** A name for a model's weights that is cheap to compute: headers, samples of the data, and the architecture. */

import { createHash } from 'node:crypto'
import type { Pace } from './errors.js'
import type { ModelSpec } from './spec.js'
import type { TensorTable } from './tensors.js'

const SAMPLES = 256
const SAMPLE_BYTES = 4096
const TOGETHER = 64
const PIECE = 256 * 1024

/** 32 hexadecimal digits: SHA-256 over every file's header and 256 evenly spaced samples, and the numbers of the spec. */
export async function fingerprint(table: TensorTable, model: ModelSpec, pace: Pace): Promise<string> {
  const hash = createHash('sha256')
  const { embedDim, logitScale, image, text } = model
  hash.update(JSON.stringify([embedDim, logitScale, sorted(image), sorted(text)]))
  for (let f = 0; f < table.files.length; ++f) {
    const file = table.files[f]
    const [position, length] = table.headers[f]
    hash.update(`${file.bytes} `)
    for (let at = 0; at < length; at += PIECE)
      hash.update(await file.read(position + at, Math.min(PIECE, length - at)))
    const bytes = Math.min(SAMPLE_BYTES, file.bytes)
    const step = (file.bytes - bytes) / (SAMPLES - 1)
    // Many at once: libuv's threads wait for a disk, and each wait of ours for them costs a fifth of a millisecond.
    for (let i = 0; i < SAMPLES; i += TOGETHER) {
      const reads = Array.from({ length: TOGETHER }, (_, k) => file.read(Math.floor((i + k) * step), bytes))
      for (const sample of await Promise.all(reads)) hash.update(sample)
      pace.restart()
    }
  }
  return hash.digest('hex').slice(0, 32)
}

function sorted(value: object | undefined): [string, unknown][] {
  return Object.entries(value ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))
}
