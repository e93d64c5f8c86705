import { argumentError, got } from '../base/errors.js'
import { writeOutput } from '../base/output-file.js'
import type { Clip, Embeddings } from '../index.js'
import { npyHeader } from '../store/npy.js'
import { untilInterrupted } from './interrupt.js'
import { loadFor, type ModelOptions, progress } from './model.js'
import { errorJson, errorLine, print } from './output.js'
import { embedStore } from './store.js'

export interface EmbedCommand extends ModelOptions {
  text?: string[]
  out?: string
  normalize: boolean
  truncate?: boolean
  json?: boolean
  store?: string
  storeDtype?: string
  followLinks?: boolean
}

/** Items embedded and written at a time. */
const chunk = 256

interface Item {
  kind: 'image' | 'text'
  value: string
}

/** Writes .npy rows, or prints JSON lines. */
type Sink = (items: Item[], embeddings: Embeddings) => Promise<void>

async function run(
  clip: Clip,
  items: Item[],
  options: EmbedCommand,
  sink: Sink,
  signal: AbortSignal,
): Promise<number> {
  let failed = 0
  const bar = progress(items.length, 'embedded')
  try {
    for (let first = 0; first < items.length; ) {
      const { kind } = items[first]!
      let end = first + 1
      while (end < items.length && end - first < chunk && items[end]!.kind === kind) end++
      const part = items.slice(first, end)
      const values = part.map(item => item.value)
      const common = { normalize: options.normalize, errors: 'collect' as const, signal }
      const embeddings =
        kind === 'image'
          ? await clip.encodeImage(values, common)
          : await clip.encodeText(values, { ...common, truncate: options.truncate ?? false })
      for (const error of embeddings.errors ?? []) {
        if (!error) continue
        failed++
        if (!options.json) process.stderr.write(`clip-native: ${errorLine(error)}\n`)
      }
      await sink(part, embeddings)
      first = end
      bar.update(end)
    }
  } finally {
    bar.stop()
  }
  return failed > 0 ? 1 : 0
}

const printLines: Sink = async (items, embeddings) => {
  let i = 0
  for (const row of embeddings) {
    const { kind, value } = items[i]!
    const error = embeddings.errors?.[i++]
    await print(
      JSON.stringify({ [kind]: value, ...(error ? { error: errorJson(error) } : { embedding: [...row] }) }),
    )
  }
}

/** Exit code: 1 if an item could not be embedded; its row in a file is NaN. */
export async function embed(images: string[], options: EmbedCommand): Promise<number> {
  const { store } = options
  if (store !== undefined) {
    const other = options.text ? '--text' : options.out !== undefined ? '--out' : undefined
    if (other) throw argumentError('--store', `be given without ${other}`, got('both'))
    return embedStore(images, { ...options, store })
  }
  const items: Item[] = [
    ...images.map(value => ({ kind: 'image' as const, value })),
    ...(options.text ?? []).map(value => ({ kind: 'text' as const, value })),
  ]
  if (items.length === 0) throw argumentError('embed', 'have images or --text', got('neither'))
  return untilInterrupted(async signal => {
    await using clip = await loadFor(options, { signal, note: images.length > 0 })
    const { out } = options
    if (out === undefined) return await run(clip, items, { ...options, json: true }, printLines, signal)
    return await writeOutput(out, async file => {
      await file.write(npyHeader([items.length, clip.info.embedDim]))
      const writeRows: Sink = (_, { data }) =>
        file.write(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
      return await run(clip, items, options, writeRows, signal)
    })
  })
}
