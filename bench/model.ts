/** Towers, end to end, cold start, memory and the event loop. */

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { pathToFileURL } from 'node:url'
import { packageRoot } from '../lib/base/package.js'
import { embeddedModel } from '../lib/hub/resolve-model.js'
import { type Clip, load } from '../lib/index.js'
import { linears, type ModelShape, model, tokens } from './cases.js'
import { photograph } from './images.js'
import { type ComputeDtype, dtypesHere, type KernelOptions, peakOf } from './kernels.js'
import { randomModel } from './random-model.js'
import { figures, measure } from './suite.js'

const captions = [
  'a small brown dog runs on green grass',
  'two cats sleep on the old red sofa',
  'the tall man walks along a quiet beach',
  'one white boat near an island at sunset',
]

/**
 * Multiplications and additions of the image tower, with the last block reduced to the pooled row (which is
 * algebraically exact).
 */
export function imageOperations(m: ModelShape): number {
  const t = m.image
  const rows = tokens(m)
  const block = linears(t).reduce((n, [, i, o]) => n + 2 * rows * i * o, 0) + 4 * rows * rows * t.width
  // In the last block: keys and values for all rows, the rest for one row.
  const one = 2 * t.width * (t.width + t.width + 2 * t.mlp) + 4 * rows * t.width
  const last = 2 * rows * t.width * 2 * t.width + one
  return (
    2 * (rows - 1) * 3 * t.patch ** 2 * t.width + (t.layers - 1) * block + last + 2 * t.width * m.embedDim
  )
}

export async function towerTasks(o: KernelOptions, names: string[]): Promise<void> {
  for (const name of names) {
    const shape = model(name)
    for (const dtype of dtypesHere()) {
      const what = (batch: number) => `${name} ${dtype} image, batch ${batch}`
      const text = `${name} ${dtype} one text of 10 tokens`
      if (![what(1), what(8), text].some(o.wanted)) continue
      const folder = name === 'icon-clip' ? embeddedModel : await randomModel(shape)
      const clip = await load(folder, { dtype, threads: o.threads })
      const reference = await load(folder, { dtype: 'float32', threads: o.threads })
      const { size } = shape.image
      const operations = imageOperations(shape)
      const peak = await peakOf(dtype, o.threads)
      const common = { peak, dtype, threads: o.threads, backend: clip.info.backend }
      for (const batch of [1, 8]) {
        if (!o.wanted(what(batch))) continue
        const data = Float32Array.from(
          { length: batch * 3 * size * size },
          (_, i) => Math.sin(i * 12.9898) * 1.5,
        )
        const image = { data, shape: [batch, 3, size, size] as [number, number, number, number] }
        const result = await measure(
          'model',
          {
            name: what(batch),
            run: () => clip.encodeImage(image),
            operations: operations * batch,
            check: async () =>
              close(name, dtype, await clip.encodeImage(image), await reference.encodeImage(image)),
            ...common,
          },
          o.seconds,
        )
        o.done({
          ...result,
          note: batch > 1 ? `${(result.ns / batch / 1e6).toPrecision(4)} ms per image` : undefined,
        })
      }
      if (o.wanted(text))
        o.done(
          await measure(
            'model',
            {
              name: text,
              run: () => clip.encodeText(captions[0]!),
              check: async () =>
                close(name, dtype, await clip.encodeText(captions), await reference.encodeText(captions)),
              dtype,
              threads: o.threads,
              backend: clip.info.backend,
            },
            o.seconds,
          ),
        )
      await clip.dispose()
      await reference.dispose()
    }
  }
}

type Rows = Iterable<Float32Array>

/** Checks the cosine of every row with the float32 result; float32 itself is compared with PyTorch by the tests. */
function close(name: string, dtype: ComputeDtype, ours: Rows, reference: Rows): void {
  const bound = { float32: 0.999999, bfloat16: 0.999, int8: 0.98 }[dtype]
  const others = [...reference]
  for (const [i, row] of [...ours].entries()) {
    const cosine = row.reduce((sum, v, j) => sum + v * others[i]![j]!, 0)
    if (!(cosine >= bound))
      throw new Error(`${name} ${dtype}: cosine to float32 ${cosine}, required ${bound}`)
  }
}

/** From an image file to its label. */
export async function endToEndTasks(o: KernelOptions): Promise<void> {
  const classify = async (name: string, clip: Clip, file: string, labels: string[]) => {
    if (o.wanted(name)) {
      const classifier = await clip.classifier(labels)
      o.done(
        await measure(
          'end',
          {
            name,
            run: () => classifier.classify(file, { topK: 1 }),
            dtype: clip.info.dtype,
            threads: o.threads,
            backend: clip.info.backend,
          },
          o.seconds,
        ),
      )
    }
    await clip.dispose()
  }
  const icon = join(embeddedModel, 'examples', 'dog.png')
  await classify(
    'end to end icon-clip, dog.png to label',
    await load(undefined, { threads: o.threads }),
    icon,
    ['dog', 'cat', 'key'],
  )
  for (const [width, height] of [
    [1280, 853],
    [4000, 3000],
  ] as const) {
    const name = `end to end ViT-B/32 float32, JPEG ${width}x${height} to label`
    if (!o.wanted(name)) continue
    const clip = await load(await randomModel(model('ViT-B/32')), { threads: o.threads })
    await classify(name, clip, await photograph(width, height), ['dog', 'cat', 'car', 'tree'])
  }
}

/** Fresh processes: the time from starting `node` to the first embedding, and the resident memory at that point. */
export async function startTasks(o: KernelOptions): Promise<void> {
  const lib = pathToFileURL(join(packageRoot, 'dist/lib/index.js')).href
  const cases: [string, string, ComputeDtype, number][] = [['icon-clip', embeddedModel, 'float32', 72]]
  for (const dtype of dtypesHere()) cases.push(['ViT-B/32', '', dtype, 224])
  for (const [name, source, dtype, size] of cases) {
    const title = `cold start ${name} ${dtype}, image tower`
    if (!o.wanted(title)) continue
    const folder = source || (await randomModel(model(name)))
    const script = `const { load } = await import(${JSON.stringify(lib)})
      const clip = await load(${JSON.stringify(folder)}, { dtype: '${dtype}', threads: ${o.threads}, towers: ['image'] })
      const n = 3 * ${size} ** 2
      await clip.encodeImage({ data: new Float32Array(n), shape: [1, 3, ${size}, ${size}] })
      console.log(process.memoryUsage().rss)
      process.exit(0)`
    const ns: number[] = []
    const rss: number[] = []
    for (let i = 0; i < 6; i++) {
      const from = process.hrtime.bigint()
      const child = execFile(process.execPath, ['--input-type=module', '-e', script])
      let out = ''
      child.stdout!.on('data', d => {
        out += d
      })
      await once(child, 'close')
      if (i > 0) ns.push(Number(process.hrtime.bigint() - from)) // the first run warms the page cache
      if (i > 0) rss.push(Number(out))
    }
    const megabytes = Math.round(rss.sort((a, b) => a - b)[rss.length >> 1]! / 2 ** 20)
    o.done({
      ...figures('start', { name: title, dtype, threads: o.threads }, ns, ns.length),
      note: `RSS ${megabytes} MB after the first embedding; process start and end included`,
    })
  }
}

/** The delay of the event loop while it has encodes to serve. */
export async function loopTasks(o: KernelOptions): Promise<void> {
  const name = `event-loop delay during 200 encodes, icon-clip, ${o.threads} threads`
  if (!o.wanted(name)) return
  const clip = await load(undefined, { threads: o.threads })
  const file = join(embeddedModel, 'examples', 'dog.png')
  await clip.encodeImage(file)
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const from = process.hrtime.bigint()
  await Promise.all(Array.from({ length: 200 }, () => clip.encodeImage(file)))
  const total = Number(process.hrtime.bigint() - from)
  delay.disable()
  const ms = (ns: number) => (ns / 1e6).toFixed(2)
  o.done({
    ...figures('loop', { name, threads: o.threads, dtype: 'float32' }, [delay.percentile(99)], 200),
    note: `p50 ${ms(delay.percentile(50))}, p99 ${ms(delay.percentile(99))}, max ${ms(delay.max)} ms; idle reads about 1.1; ${(total / 200 / 1e6).toFixed(2)} ms per encode`,
  })
  await clip.dispose()
}
