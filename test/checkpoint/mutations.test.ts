/**
 * Seeded mutations of headers, directories, pickles and configurations: each is read, or refused with a ClipError.
 * Two thousand of them; CLIP_MUTATIONS=10000 sets another number.
 */

import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ClipError } from '../../lib/base/errors.js'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { patience } from '../helpers/patience.js'
import { rss } from '../hostile/memory.js'
import { processorMs } from '../processor-time.js'
import { goldenPath } from './goldens.js'

const COUNT = Number(process.env.CLIP_MUTATIONS ?? 2000)
const LONGEST_MS = 5000

/** mulberry32: numbers in [0, 1). */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const TOKENS = [
  '"',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '-1',
  '0',
  '1e999',
  '9007199254740993',
  'null',
  '\\u0000',
  '..',
  '\xff',
]

/** One to four changes between `from` and `to`: a bit, a byte, a run, a copy, a token, a number. */
function mutate(original: Buffer, from: number, to: number, next: () => number): Buffer {
  let data = Buffer.from(original)
  const pick = (n: number) => Math.floor(next() * n)
  for (let changes = 1 + pick(4); changes > 0; --changes) {
    const at = from + pick(Math.max(1, Math.min(to, data.length) - from))
    switch (pick(6)) {
      case 0:
        data[at] ^= 1 << pick(8)
        break
      case 1:
        data[at] = pick(256)
        break
      case 2:
        data = Buffer.concat([data.subarray(0, at), data.subarray(at + 1 + pick(32))])
        break
      case 3:
        data = Buffer.concat([data.subarray(0, at), data.subarray(at, at + 1 + pick(64)), data.subarray(at)])
        break
      case 4:
        data = Buffer.concat([
          data.subarray(0, at),
          Buffer.from(TOKENS[pick(TOKENS.length)], 'latin1'),
          data.subarray(at),
        ])
        break
      default:
        if (at + 4 <= data.length)
          data.writeUInt32LE([0, 1, 0xffffffff, 0x7fffffff, pick(1 << 30)][pick(5)], at)
    }
  }
  return data
}

interface Target {
  name: string
  golden: string
  /** The file in the golden's folder that is mutated; undefined when the golden is a file. */
  file?: string
  range: (file: Buffer) => [number, number]
  share: number
  /** Makes every other mutation consistent again, so that checks behind the first one are reached too. */
  repair?: (mutated: Buffer, original: Buffer) => void
}

function headerLength(mutated: Buffer, original: Buffer): void {
  const length = Number(original.readBigUInt64LE(0)) + mutated.length - original.length
  if (length >= 0) mutated.writeBigUInt64LE(BigInt(length), 0)
}

const all = (file: Buffer): [number, number] => [0, file.length]
const pickle = (file: Buffer): [number, number] => {
  // From data.pkl's name in its local header to the end of its text: PyTorch stores it.
  const at = file.indexOf('/data.pkl')
  return [at, at + 9000]
}

const targets: Target[] = [
  {
    name: 'safetensors header',
    golden: 'hf-4',
    file: 'model.safetensors',
    range: f => [0, 8 + Number(f.readBigUInt64LE(0))],
    share: 0.25,
    repair: headerLength,
  },
  { name: 'config.json', golden: 'hf-5', file: 'config.json', range: all, share: 0.1 },
  { name: 'processor_config.json', golden: 'hf-5', file: 'processor_config.json', range: all, share: 0.05 },
  { name: 'tokenizer.json', golden: 'hf-5', file: 'tokenizer.json', range: all, share: 0.05 },
  {
    name: 'shard index',
    golden: 'hf-4-sharded',
    file: 'model.safetensors.index.json',
    range: all,
    share: 0.1,
  },
  {
    name: 'open_clip_config.json',
    golden: 'openclip-80',
    file: 'open_clip_config.json',
    range: all,
    share: 0.1,
  },
  { name: 'pickle', golden: 'openai-vit', range: pickle, share: 0.2 },
  {
    name: 'zip directory',
    golden: 'openclip-training',
    range: f => [f.length - 6000, f.length],
    share: 0.15,
  },
]

async function attempt(t: ExecutionContext, path: string, what: string): Promise<boolean> {
  const start = process.cpuUsage()
  try {
    await readCheckpoint(path, {
      activation: path.endsWith('.pt') && what.includes('zip') ? 'gelu' : undefined,
    })
    return true
  } catch (error) {
    if (!(error instanceof ClipError)) t.fail(`${what}: ${(error as Error)?.stack}`)
    else if (error.code !== 'ERR_CLIP_CHECKPOINT' && error.code !== 'ERR_CLIP_CONFIG')
      t.fail(`${what}: ${error.code}`)
    return false
  } finally {
    const ms = processorMs(start)
    if (ms > LONGEST_MS) t.fail(`${what} took ${ms} ms of processor time`)
  }
}

for (const target of targets)
  test.serial(
    `after random changes to the ${target.name}, a checkpoint opens or a ClipError is thrown`,
    async t => {
      t.timeout(patience * 10 * 60_000)
      const folder = await mkdtemp(join(tmpdir(), 'clip-native-'))
      t.teardown(() => rm(folder, { recursive: true, force: true }))
      const source = goldenPath(target.golden)
      let path = folder
      if (target.file) await cp(source, folder, { recursive: true })
      else path = join(folder, 'model.pt')
      const victim = target.file ? join(folder, target.file) : path
      const original = await readFile(target.file ? join(source, target.file) : source)
      const [from, to] = target.range(original)
      const count = Math.ceil(COUNT * target.share)
      const before = rss()
      let read = 0
      for (let seed = 0; seed < count; ++seed) {
        const mutated = mutate(original, from, Math.min(to, original.length), random(seed))
        if (seed % 2) target.repair?.(mutated, original)
        await writeFile(victim, mutated)
        if (await attempt(t, path, `${target.name}, seed ${seed}`)) ++read
      }
      const grown = rss() - before
      t.log(
        `${count} mutations: ${read} read, ${count - read} refused; RSS grew by ${Math.round(grown / 1e6)} MB`,
      )
      t.true(read < count, 'some mutation is refused')
      t.true(grown < 400e6, `RSS grew by ${grown}`)
    },
  )
