/**
 * Files made to grow: each just inside the limits of its format, or far outside. In a process of its own:
 *
 *   node --expose-gc dist/test/hostile/bounds.js NAME
 *
 * Prints a Growth as JSON.
 */

import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ClipError, load } from '../../lib/index.js'
import { goldenPath } from '../checkpoint/goldens.js'
import { archive, global, PROTO, tensor, unicode, zip } from '../checkpoint/torch-files.js'
import { growth, measurable } from './memory.js'

export interface Growth {
  /** Of the hostile file. */
  fileBytes: number
  grownBytes: number
  measured: boolean
  ms: number
  /** "CODE message" of the ClipError, "loaded", or what else happened. */
  end: string
}

let folder = ''

/** Puts `data` into a copy of a golden folder, or beside nothing; returns [what to load, the hostile file]. */
function inside(golden: string, name: string, data: string | Buffer): [string, string] {
  cpSync(goldenPath(golden), folder, { recursive: true })
  writeFileSync(join(folder, name), data)
  return [folder, join(folder, name)]
}
function alone(data: Buffer): [string, string] {
  const file = join(folder, 'model')
  writeFileSync(file, data)
  return [file, file]
}
function safetensors(header: string, data = Buffer.alloc(0)): Buffer {
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(Buffer.byteLength(header)))
  return Buffer.concat([size, Buffer.from(header), data])
}
const entries = (n: number, entry: (i: number) => string): string =>
  Array.from({ length: n }, (_, i) => entry(i)).join(',')

const MB = 1 << 20
const module = global('__torch__', 'M')

/** A module tree in which every name ends in the same long string, which the file has once. */
function longNames(): Buffer {
  const shared = `${unicode('a'.repeat(4 * MB))}q\x00${tensor('FloatStorage', '0', 4, 0, [2, 2], [2, 1])}q\x01`
  const children = Array.from({ length: 2000 }, (_, i) => `${unicode(`k${i}`)}h\x02)\x81}h\x00h\x01sb`)
  return archive(`${PROTO}${shared}${module}q\x02h\x02)\x81}(${children.join('')}ub.`, [
    { name: 'm/data/0', data: Buffer.alloc(16) },
  ])
}

/** OpenAI's layout in which a thousand blocks are views of one storage. */
function sharedStorage(): Buffer {
  const width = 64
  const numel = 4 * width * width
  const at = (name: string, shape: number[]) => {
    const strides = shape.map((_, d) => shape.slice(d + 1).reduce((a, b) => a * b, 1))
    return `${unicode(name)}${tensor('FloatStorage', '0', numel, 0, shape, strides)}s`
  }
  const tower = (prefix: string, layers: number) =>
    Array.from({ length: layers }, (_, i) => {
      const b = `${prefix}resblocks.${i}.`
      return [
        at(`${b}ln_1.weight`, [width]),
        at(`${b}ln_1.bias`, [width]),
        at(`${b}ln_2.weight`, [width]),
        at(`${b}ln_2.bias`, [width]),
        at(`${b}attn.in_proj_weight`, [3 * width, width]),
        at(`${b}attn.in_proj_bias`, [3 * width]),
        at(`${b}attn.out_proj.weight`, [width, width]),
        at(`${b}attn.out_proj.bias`, [width]),
        at(`${b}mlp.c_fc.weight`, [4 * width, width]),
        at(`${b}mlp.c_fc.bias`, [4 * width]),
        at(`${b}mlp.c_proj.weight`, [width, 4 * width]),
        at(`${b}mlp.c_proj.bias`, [width]),
      ].join('')
    }).join('')
  const dict = [
    at('visual.class_embedding', [width]),
    at('visual.positional_embedding', [10, width]),
    at('visual.proj', [width, 32]),
    at('visual.conv1.weight', [width, 3, 8, 8]),
    ...['visual.ln_pre', 'visual.ln_post', 'ln_final'].flatMap(norm => [
      at(`${norm}.weight`, [width]),
      at(`${norm}.bias`, [width]),
    ]),
    tower('visual.transformer.', 900),
    at('token_embedding.weight', [64, width]),
    at('positional_embedding', [8, width]),
    at('text_projection', [width, 32]),
    at('logit_scale', []),
    tower('transformer.', 1),
  ]
  const data = Buffer.alloc(4 * numel)
  for (let i = 0; i < numel; i++) data.writeFloatLE(0.01, 4 * i)
  return archive(`${PROTO}}${dict.join('')}.`, [{ name: 'm/data/0', data }])
}

const files: Record<string, () => [string, string]> = {
  'tokenizer.json of objects': () =>
    inside('hf-5', 'tokenizer.json', `{"x":[${'{},'.repeat((16 * MB) / 3 - 10)}{}]}`),
  'tokenizer.json of arrays': () =>
    inside('hf-5', 'tokenizer.json', `{"x":[${'[],'.repeat((16 * MB) / 3 - 10)}[]]}`),
  'tokenizer.json of numbers': () => inside('hf-5', 'tokenizer.json', `{"x":[${'1,'.repeat(8 * MB - 10)}1]}`),
  'tokenizer.json of one escaped string': () =>
    inside('hf-5', 'tokenizer.json', `{"x":"\\n${'a'.repeat(16 * MB - 20)}"}`),
  'tokenizer.json in two-byte characters': () =>
    inside('hf-5', 'tokenizer.json', `{"x":"\u4e00${'\u00e9'.repeat(8 * MB - 20)}"}`),
  'tokenizer.json of 60 MB': () => inside('hf-5', 'tokenizer.json', ' '.repeat(60 * MB)),
  'vocab.json of 219 000 pieces': () =>
    inside('hf-4', 'vocab.json', `{${entries(219_000, i => `"${i.toString(36)}":${i}`)}}`),
  'vocab.json of a million pieces': () =>
    inside('hf-4', 'vocab.json', `{${entries(1_000_000, i => `"${i.toString(36)}":${i}`)}}`),
  'merges.txt of 199 000 lines': () => inside('hf-4', 'merges.txt', 'a b\n'.repeat(199_000)),
  'merges.txt of four million lines': () => inside('hf-4', 'merges.txt', 'a b\n'.repeat(4 * MB)),
  'an index of 20 000 tensors': () =>
    inside(
      'hf-4-sharded',
      'model.safetensors.index.json',
      `{"weight_map":{${entries(20_000, i => `"${i}":"x.safetensors"`)}}}`,
    ),
  'an index of a million tensors': () =>
    inside(
      'hf-4-sharded',
      'model.safetensors.index.json',
      `{"weight_map":{${entries(1_000_000, i => `"${i.toString(36)}":"b"`)}}}`,
    ),
  'a config.json of arrays': () =>
    inside('hf-4', 'config.json', `{"x":[${'[],'.repeat(90_000)}[]],"y":"${'a'.repeat(700_000)}"}`),
  'a safetensors header of 20 000 tensors': () =>
    alone(
      safetensors(
        `{${entries(20_000, i => `"${i}":{"dtype":"F32","shape":[0,1,1,1,1,1,1,1],"data_offsets":[0,0]}`)}}`,
      ),
    ),
  'a safetensors header of blanks': () => alone(safetensors(`{"\u4e00":1${' '.repeat(32 * MB - 40)}}`)),
  'a pickle of dicts': () => alone(archive(`${PROTO}${'}'.repeat(590_000)}.`)),
  'a pickle of lists': () => alone(archive(`${PROTO}${']'.repeat(590_000)}.`)),
  'a pickle of modules': () => alone(archive(`${PROTO}${module}q\x00${'h\x00)\x81'.repeat(190_000)}.`)),
  'a pickle of one long name 2000 times': () => alone(longNames()),
  'a pickle that inflates to 16 MB': () =>
    alone(
      zip([
        {
          name: 'm/data.pkl',
          data: Buffer.from(`${PROTO}${unicode('a'.repeat(16 * MB - 20))}.`, 'latin1'),
          deflate: true,
        },
      ]),
    ),
  'an archive of 60 000 entries': () =>
    alone(
      zip([
        { name: 'm/data.pkl', data: Buffer.from(`${PROTO}}.`, 'latin1') },
        ...Array.from({ length: 60_000 }, (_, i) => ({ name: `m/data/${i}`, data: Buffer.alloc(0) })),
      ]),
    ),
  '900 blocks in one storage': () => alone(sharedStorage()),
}

export const boundNames: readonly string[] = Object.keys(files)

async function main(name: string): Promise<Growth> {
  let end = 'loaded'
  folder = mkdtempSync(join(tmpdir(), 'clip-native-bounds-'))
  try {
    // What a process takes once.
    const clip = await load(goldenPath('hf-4'), { threads: 1 })
    await clip.dispose()
    const made = execFileSync(process.execPath, [script, name, folder], { encoding: 'utf8' })
    const [path, hostile] = JSON.parse(made) as [string, string]
    // Only the image tower of what has no vocabulary: otherwise its weights are not reached.
    const towers = name.includes('storage') ? (['image'] as const) : undefined
    ;(globalThis as { gc?: () => void }).gc?.()
    const start = performance.now()
    const grownBytes = await growth(async () => {
      try {
        const loaded = await load(path, { threads: 1, activation: 'quickGelu', towers })
        await loaded.dispose()
      } catch (error) {
        end = error instanceof ClipError ? `${error.code} ${error.message}` : String(error)
      }
    })
    const ms = Math.round(performance.now() - start)
    return { fileBytes: statSync(hostile).size, grownBytes, measured: measurable, ms, end }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const script = fileURLToPath(import.meta.url)
if (process.argv[1] === script) {
  const [, , name = '', place] = process.argv
  // Made in another process, whose memory is not counted.
  if (place) {
    folder = place
    console.log(JSON.stringify(files[name]!()))
  } else {
    console.log(JSON.stringify(await main(name)))
  }
}
