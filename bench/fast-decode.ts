/**
 * What `decode: 'fast'` costs in accuracy and saves in time, on your own photographs:
 *
 *   npm run bench:decode -- FOLDER...            # JPEG and WebP files, in subfolders too
 *   npm run bench:decode -- FOLDER --model ViT-B/32
 *
 * For each model, every image is embedded with 'exact' and with 'fast'; the cosine of the two is 1 where an image is too
 * small to be scaled, and such images are only counted. Processor times are of `preprocess` with one thread, the two ways in
 * turn, after one run of each. Without `--model`: the embedded model, and ViT-B/32 with random weights.
 */

import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { type Clip, imageFiles, load } from '../lib/index.js'
import { model } from './cases.js'
import { machine } from './machine.js'
import { randomModel } from './random-model.js'
import { columns, median, quantile } from './stats.js'

interface Measured {
  kind: string
  cosine: number
  /** Processor time in ms. */
  exact: number
  fast: number
}

const processorMs = (since: NodeJS.CpuUsage) => {
  const { user, system } = process.cpuUsage(since)
  return (user + system) / 1e3
}

async function measure(clip: Clip, file: string, rounds: number): Promise<Measured | undefined> {
  const { format, width, height } = await sharp(file).metadata()
  const side = clip.info.imageSize!
  const scale = [8, 4, 2].find(one => Math.min(width, height) >= 2 * side * one)
  if (scale === undefined || (format !== 'jpeg' && format !== 'webp')) return undefined
  const [exact, fast] = await Promise.all(
    (['exact', 'fast'] as const).map(async decode => (await clip.encodeImage(file, { decode })).data),
  )
  const times: Record<'exact' | 'fast', number[]> = { exact: [], fast: [] }
  for (let round = 0; round <= rounds; round++)
    for (const decode of ['exact', 'fast'] as const) {
      const start = process.cpuUsage()
      await clip.preprocess(file, { decode })
      if (round > 0) times[decode].push(processorMs(start))
    }
  return {
    kind: `${format === 'jpeg' ? 'JPEG' : 'WebP'}, ${Math.round((width * height) / 1e6)} megapixels, 1/${scale}`,
    cosine: exact!.reduce((sum, x, i) => sum + x * fast![i]!, 0),
    exact: median(times.exact),
    fast: median(times.fast),
  }
}

function table(all: readonly Measured[]): string {
  const kinds = [...new Set(all.map(one => one.kind))].sort((a, b) =>
    a.localeCompare(b, 'en', { numeric: true }),
  )
  const row = (name: string, some: readonly Measured[]) => [
    name,
    String(some.length),
    quantile(
      some.map(one => one.cosine),
      0,
    ).toFixed(5),
    median(some.map(one => one.cosine)).toFixed(5),
    median(some.map(one => one.exact)).toFixed(1),
    median(some.map(one => one.fast)).toFixed(1),
    median(some.map(one => one.exact / one.fast)).toFixed(2),
  ]
  return columns([
    ['', 'images', 'least cosine', 'median', 'exact, ms', 'fast, ms', 'times as fast'],
    ...kinds.map(kind =>
      row(
        kind,
        all.filter(one => one.kind === kind),
      ),
    ),
    row('all', all),
  ])
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { model: { type: 'string' }, rounds: { type: 'string', default: '3' } },
})
if (positionals.length === 0) throw new Error('Name one or more folders of photographs.')
console.log(JSON.stringify(machine()))
const sources: [name: string, source: string | undefined][] = values.model
  ? [[values.model, values.model]]
  : [
      ['the embedded model', undefined],
      ['ViT-B/32, random weights', await randomModel(model('ViT-B/32'))],
    ]
for (const [name, source] of sources) {
  const clip = await load(source, { towers: ['image'], threads: 1 })
  const all: Measured[] = []
  let whole = 0
  for (const folder of positionals)
    for await (const file of imageFiles(folder)) {
      const one = await measure(clip, file, Number(values.rounds))
      if (one) all.push(one)
      else whole++
    }
  console.log(
    `\n${name}: ${all.length} images decoded at a fraction of their size, ${whole} whole\n${table(all)}`,
  )
  await clip.dispose()
}
