/** What is damaged, and how: the golden checkpoints and images. */

import { cp, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { packageRoot } from '../../lib/base/package.js'
import { type ClipErrorCode, load } from '../../lib/index.js'
import { createTokenizer } from '../../lib/tokenizer/index.js'
import { goldenFolder, goldenPath } from '../checkpoint/goldens.js'
import { golden, unpacked } from '../tokenizer/files.js'
import { type Dice, damageBytes, damageJson, damageLines, damagePickle, repairPng } from './mutate.js'

/** One case, ready to run. */
export interface Case {
  what: string
  /** Opens the damaged thing: a success or a ClipError with one of `codes`. */
  act(): Promise<void>
  codes: ClipErrorCode[]
  /** By how much the process may grow meanwhile. */
  bytes: number
}

/** Sets a target up in a folder of its own: the undamaged things once, so that what a process takes once is taken. */
export type Target = (folder: string) => Promise<(seed: number, dice: Dice) => Promise<Case>>

type Damage = (original: Buffer, dice: Dice) => Buffer

interface Victim {
  golden: string
  /** The file in the golden's folder that is damaged; undefined when the golden is a file. */
  file?: string
  damage: Damage
}

const directory: Damage = (data, dice) => damageBytes(data, dice, data.length - 8000, data.length)
/** Local headers lie between the data: PK\3\4. */
const locals: Damage = (data, dice) => {
  const headers: number[] = []
  for (let at = data.indexOf('PK\x03\x04'); at >= 0; at = data.indexOf('PK\x03\x04', at + 4)) headers.push(at)
  const at = dice.pick(headers)
  return damageBytes(data, dice, at, at + 60)
}
const zip: Damage = (data, dice) =>
  dice.pick<Damage>([directory, directory, locals, (all, d) => damageBytes(all, d)])(data, dice)
const pickle: Damage = (data, dice) => {
  const start = data.indexOf('/data.pkl')
  const from = Math.min(
    ...['\x80\x02', '\x80\x04', '\x80\x05']
      .map(proto => data.indexOf(proto, start, 'latin1'))
      .filter(at => at >= 0),
  )
  return damagePickle(data, dice, from, data.indexOf('PK', from, 'latin1'))
}
/** Of files of before PyTorch 1.6: the pickles come first. */
const oldPickle: Damage = (data, dice) => damagePickle(data, dice, 0, 9000)

/**
 * Loads, and when that works, encodes a text and an image. The tiny checkpoints of OpenAI and OpenCLIP have no
 * vocabulary of their size: only their image tower can be used, though all of the file is read.
 */
async function use(path: string, vocabulary: boolean, trained: boolean): Promise<void> {
  const clip = await load(path, {
    threads: 1,
    towers: vocabulary ? ['image', 'text'] : ['image'],
    ...(trained ? ({ activation: 'quickGelu', heads: 1 } as const) : {}),
  })
  try {
    if (clip.info.towers.includes('image'))
      await clip.encodeImage({ data: new Uint8Array(12), width: 2, height: 2, channels: 3 })
    if (clip.info.towers.includes('text')) await clip.encodeText('a picture of a cat', { truncate: true })
  } finally {
    await clip.dispose()
  }
}

function checkpoints(victims: Victim[]): Target {
  return async folder => {
    const places = await Promise.all(
      victims.map(async ({ golden, file, damage }, i) => {
        const source = goldenPath(golden)
        const own = join(folder, String(i))
        const path = file ? own : join(folder, `${i}.pt`)
        if (file) await cp(source, own, { recursive: true })
        const victim = file ? join(own, file) : path
        const trained = golden.startsWith('trained/')
        const original = trained
          ? gunzipSync(await readFile(join(goldenFolder, `${golden}.pt.gz`)))
          : await readFile(file ? join(source, file) : source)
        const vocabulary = golden.startsWith('hf-')
        await writeFile(victim, original)
        await use(path, vocabulary, trained)
        return {
          path,
          victim,
          original,
          damage,
          vocabulary,
          trained,
          label: file ? `${golden}/${file}` : golden,
        }
      }),
    )
    return async (seed, dice) => {
      const { path, victim, original, damage, vocabulary, trained, label } = places[seed % places.length]!
      const damaged = damage(original, dice)
      await writeFile(victim, damaged)
      return {
        what: label,
        act: () => use(path, vocabulary, trained),
        codes: ['ERR_CLIP_CHECKPOINT', 'ERR_CLIP_CONFIG'],
        bytes: 2 * damaged.length + (64 << 20),
      }
    }
  }
}

const MAX_PIXELS = 4_000_000

const images: Target = async () => {
  const clip = await load(undefined, { threads: 1, maxPixels: MAX_PIXELS })
  const folder = join(packageRoot, 'test/golden/image/files')
  const variants = ['8', '24', '4-top', 'rle8', 'rle4', 'bits-565-40', 'bits-bgra-56', '8-os2'].map(
    name => `../variants/bmp-${name}.bmp`,
  )
  const others = ['tiff-turn-6.tif', 'tiff-rgb5-px.tif', 'tiff-big-le.tif', 'avif-turn-6.avif'].map(
    name => `../variants/${name}`,
  )
  const plain = (await readdir(folder)).filter(name => /\.(png|jpg|webp|gif|tif)$/.test(name)).sort()
  const files = [...plain, ...variants, ...others]
  const originals = await Promise.all(files.map(name => readFile(join(folder, name))))
  for (const original of originals) await clip.preprocess(original)
  return async (seed, dice) => {
    const original = originals[seed % originals.length]!
    const name = files[seed % files.length]!
    // Headers say how large an image is and how it is stored: half of the damage is there.
    const to = dice.oneIn(2) ? Math.min(64, original.length) : original.length
    let damaged = damageBytes(original, dice, 0, to)
    if (name.endsWith('.png') && dice.oneIn(2)) damaged = repairPng(damaged)
    return {
      what: name,
      act: async () => {
        const { shape } = await clip.preprocess(damaged)
        if (shape.join() !== '1,3,72,72') throw new Error(`shape ${shape}`)
      },
      codes: ['ERR_CLIP_IMAGE'],
      // 16 bits per sample at most; what sharp's own pipelines take comes on top.
      bytes: MAX_PIXELS * 4 * 2 + (32 << 20),
    }
  }
}

/** Vocabularies of files: half of the damage is in the file, some in tokenizer_config.json. */
const vocabularies: Target = async folder => {
  const kinds = [
    ['t5', 'tokenizer.json', 'T5Tokenizer', damageJson],
    ['gemma', 'tokenizer.json', 'GemmaTokenizer', damageJson],
    ['bert-cased', 'tokenizer.json', 'BertTokenizer', damageJson],
    ['roberta', 'tokenizer.json', 'RobertaTokenizer', damageJson],
    ['generic-bpe', 'tokenizer.json', 'PreTrainedTokenizerFast', damageJson],
    ['generic-nfd', 'tokenizer.json', 'PreTrainedTokenizerFast', damageBytes],
    ['siglip', 'spiece.model', 'SiglipTokenizer', damageBytes],
    ['xlmr', 'sentencepiece.bpe.model', 'XLMRobertaTokenizer', damageBytes],
    ['gemma-model', 'tokenizer.model', 'GemmaTokenizer', damageBytes],
    ['bert', 'vocab.txt', 'BertTokenizer', damageLines],
    ['roberta-pair', 'vocab.json', 'RobertaTokenizer', damageJson],
    ['roberta-pair', 'merges.txt', 'RobertaTokenizer', damageLines],
  ] as const
  const { strings } = golden()
  const open = async (place: string, file: string, like: (typeof kinds)[number][2], texts: string[]) => {
    const tokenizer = await createTokenizer({
      kind: 'file',
      file: join(place, file === 'merges.txt' ? 'vocab.json' : file),
      class: like,
      contextLength: 77,
      cleaning: 'canonicalize',
    })
    for (const { ids } of await tokenizer.encodeAll(texts, { truncate: true, cleaning: 'huggingface' }))
      tokenizer.decode(ids)
  }
  const places = await Promise.all(
    kinds.map(async ([name, file, like]) => {
      const { folder: from, remove } = unpacked(name)
      const place = join(folder, `${name}-${file}`)
      await cp(from, place, { recursive: true })
      remove()
      await open(place, file, like, strings.slice(0, 20))
      const config = await readFile(join(place, 'tokenizer_config.json')).catch(() => undefined)
      return { place, original: await readFile(join(place, file)), config }
    }),
  )
  return async (seed, dice) => {
    const [name, file, like, damage] = kinds[seed % kinds.length]!
    const { place, original, config } = places[seed % kinds.length]!
    const inConfig = config !== undefined && dice.oneIn(8)
    const damaged = inConfig ? original : damage(original, dice)
    await writeFile(join(place, file), damaged)
    if (config)
      await writeFile(join(place, 'tokenizer_config.json'), inConfig ? damageJson(config, dice) : config)
    const texts = Array.from({ length: 5 }, () => dice.pick(strings))
    return {
      what: `${name}/${inConfig ? 'tokenizer_config.json' : file}`,
      act: () => open(place, file, like, texts),
      codes: ['ERR_CLIP_CHECKPOINT'],
      bytes: 2 * damaged.length + (64 << 20),
    }
  }
}

export const targets: Record<string, Target> = {
  zip: checkpoints([
    { golden: 'openai-vit', damage: zip },
    { golden: 'openclip-104-bin', file: 'open_clip_pytorch_model.bin', damage: zip },
  ]),
  pickle: checkpoints([
    { golden: 'openai-vit', damage: pickle },
    { golden: 'openai-resnet', damage: pickle },
    { golden: 'openclip-104-bin', file: 'open_clip_pytorch_model.bin', damage: pickle },
    { golden: 'trained/protocol-4', damage: pickle },
    { golden: 'trained/lightning', damage: pickle },
    { golden: 'trained/module-object', damage: pickle },
    { golden: 'trained/old-protocol-2', damage: oldPickle },
    { golden: 'trained/old-protocol-4', damage: oldPickle },
  ]),
  json: checkpoints([
    { golden: 'hf-4', file: 'config.json', damage: damageJson },
    { golden: 'hf-4', file: 'preprocessor_config.json', damage: damageJson },
    { golden: 'hf-4', file: 'vocab.json', damage: damageJson },
    { golden: 'hf-5', file: 'tokenizer.json', damage: damageJson },
    { golden: 'hf-5', file: 'processor_config.json', damage: damageJson },
    { golden: 'hf-4-sharded', file: 'model.safetensors.index.json', damage: damageJson },
    { golden: 'openclip-80', file: 'open_clip_config.json', damage: damageJson },
  ]),
  merges: checkpoints([{ golden: 'hf-4', file: 'merges.txt', damage: damageLines }]),
  images,
  vocabularies,
}
