// `run ROOT NAME MODEL` times the public API of one build and prints a line of JSON; `report REF` makes a
// table of these lines.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const median = values => values.sort((a, b) => a - b)[values.length >> 1]

async function run(root, name, model) {
  const { load } = await import(pathToFileURL(join(root, 'dist/lib/index.js')).href)
  const times = {}
  const time = async (what, f, seconds = 0.5) => {
    await f()
    const list = []
    const until = performance.now() + seconds * 1000
    while (list.length < 3 || performance.now() < until) {
      const from = performance.now()
      await f()
      list.push(performance.now() - from)
    }
    times[what] = median(list)
  }
  for (const dtype of ['float32', 'bfloat16', 'int8'])
    for (const threads of [1, 2]) {
      let clip
      const from = performance.now()
      try {
        clip = await load(model, { dtype, threads })
      } catch (error) {
        if (error.code === 'ERR_CLIP_DTYPE') continue
        throw error
      }
      const what = `${dtype}, ${threads} thread(s)`
      times[`open, ${what}`] = performance.now() - from
      const size = clip.info.imageSize
      const image = n => ({
        data: Float32Array.from({ length: n * 3 * size * size }, (_, i) => 2 * Math.sin(i * 12.9898)),
        shape: [n, 3, size, size],
      })
      const one = image(1)
      const eight = image(8)
      await time(`image, ${what}`, () => clip.encodeImage(one))
      await time(`8 images, ${what}`, () => clip.encodeImage(eight))
      await time(`text, ${what}`, () => clip.encodeText('a small brown dog runs on green grass'))
      await clip.dispose()
    }
  console.log(JSON.stringify({ name, times }))
}

async function report(ref) {
  let text = ''
  for await (const chunk of process.stdin) text += chunk
  const runs = text
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  const cases = [...new Set(runs.flatMap(r => Object.keys(r.times)))]
  const of = (name, what) => runs.filter(r => r.name === name && what in r.times).map(r => r.times[what])
  const cell = x => (x === undefined ? '-' : `${x.toPrecision(4)} ms`)
  for (const what of cases) {
    const before = of(ref, what)
    const here = of('here', what)
    // The runs of one round are paired, because their ratio is least affected by other activity on the machine.
    const ratio = median(before.map((t, i) => t / here[i]).filter(Number.isFinite))
    console.log(
      `${what.padEnd(30)} ${ref} ${cell(median(before)).padStart(10)}   here ${cell(median(here)).padStart(10)}   ${ratio === undefined ? '' : `${ratio.toFixed(3)} times as fast`}`,
    )
  }
}

const [mode, ...rest] = process.argv.slice(2)
await (mode === 'run' ? run(...rest) : report(...rest))
