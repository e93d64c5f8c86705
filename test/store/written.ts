/** What a store must hold: every item that somebody was told of, and nothing that nobody added. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Clip, load, type Store, type StoreInput } from '../../lib/index.js'
import { writeTinyModel } from '../helpers/tiny-model.js'

/** A model of almost no width, for its vectors alone; and a folder, in memory where there is such a place. */
export async function smallestModel(): Promise<{ clip: Clip; folder: string; end(): Promise<void> }> {
  const folder = await mkdtemp(
    join(process.platform === 'linux' ? '/dev/shm' : tmpdir(), 'clip-store-'),
  ).catch(() => mkdtemp(join(tmpdir(), 'clip-store-')))
  const clip = await load(await writeTinyModel(join(folder, 'model'), { imageSize: 32 }), { threads: 1 })
  const end = async () => {
    await clip.dispose()
    await rm(folder, { recursive: true, force: true })
  }
  return { clip, folder, end }
}

/** Items by id, with the bytes of their vectors. */
export async function contentOf(store: Store): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  for await (const { ids, embeddings } of store.batches())
    for (const [i, id] of ids.entries()) {
      if (found.has(id)) throw new Error(`${id} is there twice`)
      found.set(id, Buffer.from(embeddings.row(i).slice().buffer).toString('base64'))
    }
  return found
}

export class Ledger {
  /** Vectors of everything that was ever handed to `add`. */
  readonly vectors = new Map<string, string>()
  /** Ids that somebody was told of. */
  readonly told = new Set<string>()

  async expect(clip: Clip, inputs: readonly StoreInput[]): Promise<string[]> {
    const ids = inputs.map(input => (typeof input === 'object' && 'id' in input ? input.id : String(input)))
    const missing = inputs.filter((_, i) => !this.vectors.has(ids[i]!))
    const images = missing.map(input => (typeof input === 'object' && 'id' in input ? input.image : input))
    const { data, shape } = await clip.encodeImage(images)
    for (const [i, input] of missing.entries()) {
      const id = ids[inputs.indexOf(input)]!
      const row = data.slice(i * shape[1], (i + 1) * shape[1])
      this.vectors.set(id, Buffer.from(row.buffer).toString('base64'))
    }
    return ids
  }

  /** Adds, and remembers after each batch what is acknowledged. */
  async add(
    store: Store,
    clip: Clip,
    inputs: readonly StoreInput[],
    told: (ids: string[]) => void = () => {},
  ) {
    const ids = await this.expect(clip, inputs)
    const tell = (n: number) => {
      for (const id of ids.slice(0, n)) this.told.add(id)
      told([...this.told])
    }
    // With skipped inputs among them, what was done is not a beginning: they count at the end.
    await store.add(inputs, { onProgress: p => p.skipped === 0 && tell(p.done) })
    tell(ids.length)
  }

  /** What is wrong with a store that was found, if anything. */
  faultOf(content: ReadonlyMap<string, string>, told: Iterable<string>): string | undefined {
    for (const id of told) if (!content.has(id)) return `${id} was acknowledged and is gone`
    for (const [id, vector] of content)
      if (this.vectors.get(id) !== vector) return `${id} is not what was added`
    return undefined
  }
}
