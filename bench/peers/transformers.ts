/**
 * Ours against transformers.js, called as its users call it: from a file's name or a string to an embedding.
 */

import { copyFile, link, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openaiVocabulary } from '../../lib/tokenizer/vocabulary.js'
import { model } from '../cases.js'
import { photograph } from '../images.js'
import { randomModel } from '../random-model.js'
import { median } from '../stats.js'
import { type Effort, type Entry, leastCosine, ratios, runArena } from './arena.js'
import { onnxFile } from './onnx-clip.js'
import { measured, type Row } from './row.js'
import { captions } from './towers.js'

type Run = (...a: unknown[]) => Promise<Record<string, { data: Float32Array }>>
interface Opener<T> {
  from_pretrained(folder: string, options: object): Promise<T>
}
/** The small part of its interface that is used here; it is installed separately. */
export interface TransformersModule {
  env: { allowRemoteModels: boolean }
  AutoProcessor: Opener<Run>
  AutoTokenizer: Opener<(texts: string[], options: object) => unknown>
  RawImage: { read(file: string): Promise<unknown> }
  CLIPVisionModelWithProjection: Opener<Run>
  CLIPTextModelWithProjection: Opener<Run>
}

/** Hugging Face's tokenizer.json for OpenAI's vocabulary, like that of openai/clip-vit-base-patch32. */
async function tokenizerJson(): Promise<unknown> {
  const { vocab, merges } = await openaiVocabulary()
  const special = (content: string) => ({
    id: (vocab as Map<string, number>).get(content),
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: content.includes('start'),
    special: true,
  })
  const [start, end] = [special('<|startoftext|>'), special('<|endoftext|>')]
  const words =
    "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [start, end],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: words }, behavior: 'Removed', invert: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true },
      ],
    },
    post_processor: {
      type: 'RobertaProcessing',
      sep: [end.content, end.id],
      cls: [start.content, start.id],
      trim_offsets: false,
      add_prefix_space: false,
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true },
    model: {
      type: 'BPE',
      unk_token: end.content,
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      vocab: Object.fromEntries(vocab as Map<string, number>),
      merges,
    },
  }
}

/**
 * A folder in the layout of transformers.js: the same checkpoint's ONNX files under the names that it
 * expects, and a tokenizer.
 */
export async function transformersFolder(checkpoint: string): Promise<string> {
  const folder = join(checkpoint, 'transformers.js')
  await mkdir(join(folder, 'onnx'), { recursive: true })
  for (const tower of ['vision', 'text'] as const) {
    const to = join(folder, 'onnx', `${tower}_model.onnx`)
    await rm(to, { force: true })
    await link(await onnxFile(checkpoint, tower, 'float32'), to)
  }
  for (const file of ['config.json', 'preprocessor_config.json'])
    await copyFile(join(checkpoint, file), join(folder, file))
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(await tokenizerJson()))
  await writeFile(
    join(folder, 'tokenizer_config.json'),
    JSON.stringify({ tokenizer_class: 'CLIPTokenizer', model_max_length: 77, pad_token: '<|endoftext|>' }),
  )
  return folder
}

export async function transformersRows(
  threads: number,
  version: string,
  effort: Effort,
  log: (text: string) => void,
): Promise<Row[]> {
  const checkpoint = await randomModel(model('ViT-B/32'))
  const folder = await transformersFolder(checkpoint)
  const file = { kind: 'file' as const, file: await photograph(1280, 853) }
  const texts = { kind: 'text' as const, texts: captions.slice(0, 1), ids: [], length: 0 }
  const entries: Entry[] = (['image', 'text'] as const).flatMap(tower => {
    const opening = { tower, dtype: 'float32' as const, threads }
    const what = tower === 'image' ? file : texts
    return [
      { name: `ours ${tower}`, opening: { ...opening, side: 'ours', source: checkpoint }, case: what },
      { name: `theirs ${tower}`, opening: { ...opening, side: 'transformers', source: folder }, case: what },
    ] as Entry[]
  })
  log(`transformers.js, ${threads} thread(s)`)
  const result = await runArena(entries, effort, log)
  return (['image', 'text'] as const).map(tower => {
    const [ours, theirs] = [`ours ${tower}`, `theirs ${tower}`]
    const values = [result.values.get(ours) ?? [], result.values.get(theirs) ?? []] as const
    const row: Row = {
      group: 'transformers',
      what:
        tower === 'image'
          ? 'JPEG 1280x853 to embedding, fp32, times transformers.js'
          : 'a string of 10 tokens to embedding, fp32, times transformers.js',
      dtype: 'float32',
      threads,
      unit: 'higher',
      bar: { required: Number.NaN, goal: Number.NaN },
      rivalSettings: `@huggingface/transformers ${version} on its onnxruntime-node, fp32, intraOpNumThreads ${threads}`,
      // Its resize differs from Pillow's, so results for images differ by more than rounding.
      cosine: leastCosine(...values, 1),
    }
    return {
      ...measured(
        row,
        ratios(result.times, ours, theirs),
        result.times.get(ours) ?? [],
        result.times.get(theirs) ?? [],
      ),
      cpuRatio: median(ratios(result.cpu, ours, theirs)),
    }
  })
}

/** Photographs in a call: a folder's worth that one burst can take. */
const photographs = 8

/** A folder of 12-megapixel photographs to embeddings, theirs one by one and all at a time. */
export async function folderRows(
  threads: number,
  version: string,
  effort: Effort,
  log: (text: string) => void,
): Promise<Row[]> {
  const checkpoint = await randomModel(model('ViT-B/32'))
  const folder = await transformersFolder(checkpoint)
  const files = Array(photographs).fill(await photograph(4032, 3024)) as string[]
  const opening = { tower: 'image' as const, dtype: 'float32' as const, threads }
  const ours = (['exact', 'fast'] as const).map(decode => ({
    name: `ours ${decode}`,
    opening: { ...opening, side: 'ours' as const, source: checkpoint },
    case: { kind: 'folder' as const, files, decode, together: 1 },
  }))
  const theirs = [1, photographs].map(together => ({
    name: together === 1 ? 'one by one' : `${together} at a time`,
    opening: { ...opening, side: 'transformers' as const, source: folder },
    case: { kind: 'folder' as const, files, decode: 'exact' as const, together },
  }))
  log(`a folder of 12-megapixel photographs, ${threads} thread(s)`)
  const result = await runArena([...ours, ...theirs], effort, log)
  return ours.flatMap(one =>
    theirs.map(other => {
      const [a, b] = [one.name, other.name]
      const row: Row = {
        group: 'folder',
        what: `${photographs} JPEG files of 12 megapixels to embeddings, fp32, decode ${one.case.decode}, times transformers.js ${b}`,
        dtype: 'float32',
        threads,
        unit: 'higher',
        bar: threads === 2 ? { required: 2.5, goal: 4 } : { required: Number.NaN, goal: Number.NaN },
        rivalSettings: `@huggingface/transformers ${version} on its onnxruntime-node, fp32, intraOpNumThreads ${threads}`,
        cosine: leastCosine(result.values.get(a) ?? [], result.values.get(b) ?? [], photographs),
      }
      return {
        ...measured(row, ratios(result.times, a, b), result.times.get(a) ?? [], result.times.get(b) ?? []),
        cpuRatio: median(ratios(result.cpu, a, b)),
      }
    }),
  )
}
