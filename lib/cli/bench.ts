/** Measures the speed of a model on this machine: loading, images, texts, and classifying a file. bench/ compares with other libraries. */

import { readdir } from 'node:fs/promises'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import { argumentError } from '../base/errors.js'
import { version } from '../base/package.js'
import { embeddedModel } from '../hub/resolve-model.js'
import type { Clip } from '../index.js'
import { untilInterrupted } from './interrupt.js'
import { loadFor, type ModelOptions } from './model.js'
import { bold, dim, print } from './output.js'

interface Figure {
  name: string
  /** ms: median, fastest, slowest. */
  median: number
  fastest: number
  slowest: number
  runs: number
}

/** Runs for about this many seconds and at least five times, after one run that is not counted. */
async function time(name: string, seconds: number, run: () => Promise<unknown>): Promise<Figure> {
  await run()
  const times: number[] = []
  const until = performance.now() + seconds * 1000
  while (times.length < 5 || performance.now() < until) {
    const from = performance.now()
    await run()
    times.push(performance.now() - from)
  }
  times.sort((a, b) => a - b)
  return {
    name,
    median: times[times.length >> 1]!,
    fastest: times[0]!,
    slowest: times.at(-1)!,
    runs: times.length,
  }
}

async function figures(clip: Clip, seconds: number, done: (f: Figure) => Promise<void>): Promise<void> {
  const { imageSize: size, towers } = clip.info
  const file = join(
    embeddedModel,
    'examples',
    (await readdir(join(embeddedModel, 'examples'))).filter(name => name.endsWith('.png')).sort()[0]!,
  )
  if (towers.includes('image') && size !== undefined) {
    for (const n of [1, 8]) {
      const data = Float32Array.from({ length: n * 3 * size * size }, (_, i) => 2 * Math.sin(i * 12.9898))
      const image = { data, shape: [n, 3, size, size] as [number, number, number, number] }
      await done(
        await time(n === 1 ? 'one image, pixels ready' : `${n} images in one call`, seconds, () =>
          clip.encodeImage(image),
        ),
      )
    }
    await done(await time('an example image to pixels', seconds, () => clip.preprocess(file)))
  }
  if (towers.includes('text')) {
    await done(await time('one short text', seconds, () => clip.encodeText('a photo of a dog')))
    const many = Array.from({ length: 64 }, (_, i) => `a photo of number ${i}`)
    await done(await time('64 texts with a common beginning', seconds, () => clip.encodeText(many)))
  }
  if (towers.length === 2) {
    const classifier = await clip.classifier(['dog', 'cat', 'key', 'car'])
    await done(await time('image file to label', seconds, () => classifier.classify(file, { topK: 1 })))
  }
}

const ms = (x: number) => `${x.toPrecision(3)} ms`

interface BenchCommand extends ModelOptions {
  seconds?: string
}

/** Exit code 0. */
export async function bench(options: BenchCommand): Promise<number> {
  const seconds = Number(options.seconds ?? 1)
  if (!(seconds > 0 && seconds <= 600))
    throw argumentError('--seconds', 'be a number above 0, at most 600', options.seconds)
  return untilInterrupted(signal => measure(options, seconds, signal))
}

async function measure(options: BenchCommand, seconds: number, signal: AbortSignal): Promise<number> {
  const from = performance.now()
  await using clip = await loadFor(options, { signal })
  const opening = performance.now() - from
  const facts = {
    version,
    model: options.model ?? 'icon-clip',
    backend: clip.info.backend,
    dtype: clip.info.dtype,
    threads: clip.info.threads,
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    load: loadavg()[0],
    date: new Date().toISOString(),
    opening,
  }
  if (options.json) await print(JSON.stringify(facts))
  else {
    await print(
      `${bold(facts.model)}: ${facts.backend}, ${facts.dtype}, threads: ${facts.threads}; ${facts.cpu}, ${facts.cores} cores, load average ${facts.load?.toFixed(2)}`,
    )
    await print(`${'opened in'.padEnd(30)} ${ms(opening)}`)
  }
  await figures(clip, seconds, async f => {
    signal.throwIfAborted()
    await print(
      options.json
        ? JSON.stringify(f)
        : `${f.name.padEnd(30)} ${ms(f.median).padStart(10)}  ${dim(`${ms(f.fastest)} to ${ms(f.slowest)}, ${f.runs} runs`)}`,
    )
  })
  return 0
}
