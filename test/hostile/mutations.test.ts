/**
 * Seeded damage to everything that the public API opens: a success or a ClipError, within a time and a memory bound.
 * A hundred of each; CLIP_HOSTILE=10000 (npm run fuzz) sets another number, CLIP_HOSTILE_SEED the first seed.
 */

import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { packageRoot } from '../../lib/binding.js'
import { type Clip, ClipError, type ClipErrorCode, load } from '../../lib/index.js'
import { goldenPath } from '../checkpoint/goldens.js'
import { growth } from './memory.js'
import { Dice, damageBytes, damageJson, damageLines, damagePickle, repairPng } from './mutate.js'

const COUNT = Number(process.env.CLIP_HOSTILE ?? 100)
const FIRST = Number(process.env.CLIP_HOSTILE_SEED ?? 0)
const LONGEST_MS = 20_000

interface Tally {
  done: number
  refused: number
  slowest: number
  most: number
}

/** One case: `act` ends, within the time, with success or one of these codes, and within `bytes` of memory. */
async function attempt(
  t: ExecutionContext,
  what: string,
  tally: Tally,
  codes: ClipErrorCode[],
  bytes: number,
  act: () => Promise<void>,
): Promise<void> {
  const start = performance.now()
  let timer: NodeJS.Timeout | undefined
  const hang = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing after ${LONGEST_MS} ms`)), LONGEST_MS)
  })
  const grown = await growth(async () => {
    try {
      await Promise.race([act(), hang])
      tally.done++
    } catch (error) {
      if (!(error instanceof ClipError)) t.fail(`${what}: ${(error as Error)?.stack ?? error}`)
      else if (!codes.includes(error.code)) t.fail(`${what}: ${error.code} ${error.message}`)
      else if (!error.field && !error.file) t.fail(`${what}: names neither file nor field: ${error.message}`)
      else if (error.message.length > 2000) t.fail(`${what}: a message of ${error.message.length} characters`)
      tally.refused++
    } finally {
      clearTimeout(timer)
    }
  })
  if (grown > bytes) t.fail(`${what}: RSS rose by ${grown}, more than ${bytes}`)
  tally.slowest = Math.max(tally.slowest, performance.now() - start)
  tally.most = Math.max(tally.most, grown)
}

async function scratch(t: ExecutionContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'clip-native-hostile-'))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  return path
}

function report(t: ExecutionContext, tally: Tally): void {
  t.log(
    `${tally.done + tally.refused} cases: ${tally.done} taken, ${tally.refused} refused; the slowest ${Math.round(tally.slowest)} ms, at most ${Math.round(tally.most / 1e6)} MB`,
  )
  t.true(tally.refused > 0, 'something is refused')
}

type Damage = (original: Buffer, dice: Dice) => Buffer

interface Target {
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
  dice.pick([directory, directory, locals, damageBytes] as Damage[])(data, dice)
const pickle: Damage = (data, dice) => {
  const at = data.indexOf('/data.pkl')
  const from = data.indexOf('\x80\x02', at, 'latin1')
  return damagePickle(data, dice, from, data.indexOf('PK', from, 'latin1'))
}

const checkpoints: Record<string, Target[]> = {
  zip: [
    { golden: 'openai-vit', damage: zip },
    { golden: 'openclip-104-bin', file: 'open_clip_pytorch_model.bin', damage: zip },
  ],
  pickle: [
    { golden: 'openai-vit', damage: pickle },
    { golden: 'openai-resnet', damage: pickle },
    { golden: 'openclip-104-bin', file: 'open_clip_pytorch_model.bin', damage: pickle },
  ],
  json: [
    { golden: 'hf-4', file: 'config.json', damage: damageJson },
    { golden: 'hf-4', file: 'preprocessor_config.json', damage: damageJson },
    { golden: 'hf-4', file: 'vocab.json', damage: damageJson },
    { golden: 'hf-5', file: 'tokenizer.json', damage: damageJson },
    { golden: 'hf-5', file: 'processor_config.json', damage: damageJson },
    { golden: 'hf-4-sharded', file: 'model.safetensors.index.json', damage: damageJson },
    { golden: 'openclip-80', file: 'open_clip_config.json', damage: damageJson },
  ],
  merges: [{ golden: 'hf-4', file: 'merges.txt', damage: damageLines }],
}

/**
 * Loads, and when that works, encodes a text and a picture. The tiny checkpoints of OpenAI and OpenCLIP have no
 * vocabulary of their size: only their image tower can be used, though all of the file is read.
 */
async function use(path: string, vocabulary: boolean): Promise<void> {
  const clip = await load(path, { threads: 1, towers: vocabulary ? ['image', 'text'] : ['image'] })
  try {
    if (clip.info.towers.includes('image'))
      await clip.encodeImage({ data: new Uint8Array(12), width: 2, height: 2, channels: 3 })
    if (clip.info.towers.includes('text')) await clip.encodeText('a picture of a cat', { truncate: true })
  } finally {
    await clip.dispose()
  }
}

for (const [name, targets] of Object.entries(checkpoints))
  test.serial(`damaged ${name}`, async t => {
    t.timeout(3600_000)
    const tally: Tally = { done: 0, refused: 0, slowest: 0, most: 0 }
    const places = await Promise.all(
      targets.map(async ({ golden, file, damage }) => {
        const folder = await scratch(t)
        const source = goldenPath(golden)
        if (file) await cp(source, folder, { recursive: true })
        const victim = join(folder, file ?? 'model.pt')
        return {
          path: file ? folder : victim,
          victim,
          original: await readFile(file ? join(source, file) : source),
          damage,
          vocabulary: golden.startsWith('hf-'),
          label: `${golden} ${file ?? ''}`,
        }
      }),
    )
    // The first load of a process takes memory that is nobody's file.
    for (const { path, victim, original, vocabulary } of places) {
      await writeFile(victim, original)
      await use(path, vocabulary)
    }
    for (let seed = FIRST; seed < FIRST + COUNT; seed++) {
      const { path, victim, original, damage, vocabulary, label } = places[seed % places.length]!
      const damaged = damage(original, new Dice(seed))
      await writeFile(victim, damaged)
      const codes: ClipErrorCode[] = ['ERR_CLIP_CHECKPOINT', 'ERR_CLIP_CONFIG']
      await attempt(t, `${name}, ${label}, seed ${seed}`, tally, codes, 2 * damaged.length + (64 << 20), () =>
        use(path, vocabulary),
      )
    }
    report(t, tally)
  })

const MAX_PIXELS = 4_000_000
let embedded: Clip
test.before(async () => {
  embedded = await load(undefined, { threads: 1, maxPixels: MAX_PIXELS })
})
test.after.always(() => embedded?.dispose())

test.serial('damaged images', async t => {
  t.timeout(3600_000)
  const tally: Tally = { done: 0, refused: 0, slowest: 0, most: 0 }
  const folder = join(packageRoot, 'test/golden/image/files')
  const files = (await readdir(folder)).filter(name => /\.(png|jpg|webp|gif|tif)$/.test(name)).sort()
  const originals = await Promise.all(files.map(name => readFile(join(folder, name))))
  // Decoders, their threads and their caches.
  for (const original of originals) await embedded.preprocess(original)
  for (let seed = FIRST; seed < FIRST + COUNT; seed++) {
    const dice = new Dice(seed)
    const original = originals[seed % originals.length]!
    const name = files[seed % files.length]!
    // Headers say how large a picture is and how it is stored: half of the damage is there.
    const to = dice.oneIn(2) ? Math.min(64, original.length) : original.length
    let damaged = damageBytes(original, dice, 0, to)
    if (name.endsWith('.png') && dice.oneIn(2)) damaged = repairPng(damaged)
    // 16 bits per sample at most; what sharp itself takes for its pipelines comes on top.
    const bytes = MAX_PIXELS * 4 * 2 + (32 << 20)
    await attempt(t, `${name}, seed ${seed}`, tally, ['ERR_CLIP_IMAGE'], bytes, async () => {
      const { shape } = await embedded.preprocess(damaged)
      t.deepEqual([...shape], [1, 3, 72, 72])
    })
  }
  report(t, tally)
})
