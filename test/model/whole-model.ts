/**
 * Runs the embedded model on whatever backend this process's environment forces, and prints what it computed as JSON.
 * backends.test.ts starts it once per backend: the environment is read by native code, which a worker thread's
 * process.env does not reach.
 *
 *   node dist/test/model/whole-model.js [device] [dtype]
 */

import { pathToFileURL } from 'node:url'
import type { Dtype } from '../../lib/base/dtypes.js'
import { type Embeddings, load } from '../../lib/index.js'
import { repositoryFile } from '../helpers/test-data.js'
import { base64, readGolden } from './golden.js'

export interface WholeModel {
  backend: string
  /** Per golden image and text, base64 of float32. */
  images: { embedding: string; normalised: string; pooled: string; tokens: string }[]
  texts: { embedding: string; normalised: string; pooled: string; tokens: string }[]
  /** Normalized embeddings of the same images and texts, computed in other ways: equal to the bit. */
  again: Record<string, { images: string[]; texts: string[] }>
}

const rows = (e: Embeddings): string[] => Array.from(e, base64)

async function run(device: 'auto' | 'reference', dtype: Dtype): Promise<WholeModel> {
  const golden = readGolden()
  const files = golden.images.map(image => repositoryFile(image.file))
  const texts = golden.texts.map(text => text.text)
  await using clip = await load(undefined, { device, dtype, threads: 1 })
  await using two = await load(undefined, { device, dtype, threads: 2 })
  await using narrow = await load(undefined, { device, dtype, threads: 2, maxBatchRows: 1 })

  const imageRaw = rows(await clip.encodeImage(files, { normalize: false }))
  const imageNormal = rows(await clip.encodeImage(files))
  const imagePooled = rows(await clip.encodeImage(files, { output: 'pooled' }))
  const imageTokens = Array.from(await clip.encodeImage(files, { output: 'tokens' }), base64)
  const textRaw = rows(await clip.encodeText(texts, { normalize: false }))
  const textNormal = rows(await clip.encodeText(texts))
  const textPooled = rows(await clip.encodeText(texts, { output: 'pooled' }))
  const textTokens: string[] = []
  for (const text of texts) {
    const [row] = await clip.encodeText(text, { output: 'tokens' })
    textTokens.push(base64(row!))
  }

  // Ten of each: a batch of seven and a rest.
  const again: WholeModel['again'] = {}
  files.length = 10
  texts.length = 10
  // One by one.
  again.alone = { images: [], texts: [] }
  for (const file of files) again.alone.images.push(...rows(await clip.encodeImage(file)))
  for (const text of texts) again.alone.texts.push(...rows(await clip.encodeText(text)))
  // In batches of 7, the last one padded with strangers from the front.
  again.sevens = { images: [], texts: [] }
  for (let i = 0; i < files.length; i += 7)
    again.sevens.images.push(
      ...rows(await clip.encodeImage([...files.slice(i, i + 7), ...files].slice(0, 7))).slice(
        0,
        files.length - i,
      ),
    )
  for (let i = 0; i < texts.length; i += 7)
    again.sevens.texts.push(
      ...rows(await clip.encodeText([...texts.slice(i, i + 7), ...texts].slice(0, 7))).slice(
        0,
        texts.length - i,
      ),
    )
  again.twoThreads = { images: rows(await two.encodeImage(files)), texts: rows(await two.encodeText(texts)) }
  again.oneImagePerPass = {
    images: rows(await narrow.encodeImage(files)),
    texts: rows(await narrow.encodeText(texts)),
  }
  // Coalesced with strangers: all calls wait at the same time, in reverse.
  const [reversedImages, reversedTexts] = await Promise.all([
    Promise.all([...files].reverse().map(async file => rows(await two.encodeImage(file))[0]!)),
    Promise.all([...texts].reverse().map(async text => rows(await two.encodeText(text))[0]!)),
  ])
  again.coalesced = { images: reversedImages.reverse(), texts: reversedTexts.reverse() }
  // Preprocessed first, every second image, and the others as they are.
  const mixed = await Promise.all(files.map(async (file, i) => (i % 2 ? await clip.preprocess(file) : file)))
  again.preprocessed = { images: rows(await clip.encodeImage(mixed)), texts: textNormal.slice(0, 10) }

  return {
    backend: clip.info.backend,
    images: golden.images.map((_, i) => ({
      embedding: imageRaw[i]!,
      normalised: imageNormal[i]!,
      pooled: imagePooled[i]!,
      tokens: imageTokens[i]!,
    })),
    texts: golden.texts.map((_, i) => ({
      embedding: textRaw[i]!,
      normalised: textNormal[i]!,
      pooled: textPooled[i]!,
      tokens: textTokens[i]!,
    })),
    again,
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  process.stdout.write(
    JSON.stringify(
      await run(
        process.argv[2] === 'reference' ? 'reference' : 'auto',
        (process.argv[3] ?? 'float32') as Dtype,
      ),
    ),
  )
