/**
 * Makes docs/paper-shape.md: the experiments of the CLIP paper's sections 3.1 and 3.2 on a small scale, with
 * the embedded model and the labelled images in test/data. Seeds are fixed, and every result is the same for
 * any number of threads: two runs on one backend give the same bytes (test/paper-shape.test.ts).
 *
 *   npm run paper-shape [-- --out FOLDER --only fewshot,flat-color-icons --threads N]
 */

import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { extname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { packageRoot, version } from '../../lib/base/package.js'
import { load } from '../../lib/index.js'
import { cardFigures } from './card.js'
import {
  bootstrap,
  type ImageSet,
  type Interval,
  type Method,
  readSet,
  shotCurve,
  zeroShot,
} from './measure.js'
import { type Curve, curves, gains, points } from './plot.js'

const { values: given } = parseArgs({
  options: { out: { type: 'string' }, only: { type: 'string' }, threads: { type: 'string' } },
})
const docs = given.out === undefined ? join(packageRoot, 'docs') : resolve(given.out)
const out = join(docs, 'paper-shape')
const seeds = [1, 2, 3, 4, 5]
const ensemble = [
  '{}',
  'an icon of {}',
  'an emoji of {}',
  'a drawing of {}',
  'a picture of {}',
  'a symbol of {}',
  '{} icon',
]

interface Task {
  name: string
  title: string
  csv: string
  only?: string
  prompt: string
  shots?: number[]
}

const allTasks: Task[] = [
  {
    name: 'noto',
    title: 'held-out style: Noto Emoji',
    csv: 'heldout.csv',
    only: 'noto',
    prompt: 'an emoji of {}',
  },
  {
    name: 'lucide',
    title: 'held-out style: Lucide',
    csv: 'heldout.csv',
    only: 'lucide',
    prompt: 'an icon of {}',
  },
  {
    name: 'flat-color-icons',
    title: 'held-out style: Flat Color Icons',
    csv: 'heldout.csv',
    only: 'flat-color-icons',
    prompt: 'an icon of {}',
  },
  {
    name: 'fewshot',
    title: 'names never trained on',
    csv: 'fewshot.csv',
    prompt: 'an icon of {}',
    shots: [1, 2, 4, 8],
  },
  {
    name: 'styles',
    title: 'which style drew it',
    csv: 'styles.csv',
    prompt: 'a {}',
    shots: [1, 2, 4, 8, 16],
  },
  {
    name: 'digits',
    title: 'handwritten digits',
    csv: 'digits.csv',
    prompt: 'a photo of {}',
    shots: [1, 2, 4, 8, 16],
  },
]

const only = given.only?.split(',')
const tasks = allTasks.filter(task => only?.includes(task.name) ?? true)

const percent = (v: number) => (100 * v).toFixed(1)
const withBars = ({ value, low, high }: Interval) => `${percent(value)} (${percent(low)} to ${percent(high)})`
const table = (head: string[], rows: string[][]) =>
  [head, head.map(() => '---'), ...rows].map(row => `| ${row.join(' | ')} |`).join('\n')

const clip = await load(undefined, {
  device: 'cpu',
  ...(given.threads === undefined ? {} : { threads: Number(given.threads) }),
})
await mkdir(out, { recursive: true })

const sets = new Map<string, ImageSet>()
for (const task of tasks) sets.set(task.name, await readSet(clip, task.csv, task.only))

// (b) comes first: its predictions give the level in (a) and the failures in (c).
const answers = new Map<string, { bare: string[]; prompt: string[]; ensemble: string[] }>()
for (const { name, prompt } of tasks) {
  const set = sets.get(name)!
  answers.set(name, {
    bare: await zeroShot(clip, set, ['{}']),
    prompt: await zeroShot(clip, set, [prompt]),
    ensemble: await zeroShot(clip, set, ensemble),
  })
}
const right = (set: ImageSet, said: string[]) => set.images.map((p, i) => Number(p.label === said[i]))
const accuracy = (name: string, kind: 'bare' | 'prompt' | 'ensemble', only = (_: number) => true) => {
  const set = sets.get(name)!
  return bootstrap(
    right(set, answers.get(name)![kind])
      .filter((_, i) => only(i))
      .map(r => [r]),
  )
}
const gain = (name: string, from: 'bare' | 'prompt', to: 'prompt' | 'ensemble') => {
  const set = sets.get(name)!
  const [a, b] = [right(set, answers.get(name)![from]), right(set, answers.get(name)![to])]
  return bootstrap(b.map((r, i) => [r - a[i]!]))
}
await writeFile(
  join(out, 'prompt-gain.svg'),
  gains(
    'A prompt instead of the bare name',
    tasks.map(({ name }) => ({ name, ...gain(name, 'bare', 'prompt') })),
  ),
)
await writeFile(
  join(out, 'ensemble-gain.svg'),
  gains(
    'Seven prompts instead of one',
    tasks.map(({ name }) => ({ name, ...gain(name, 'prompt', 'ensemble') })),
  ),
)

// (a)
const sections: string[] = []
const crossings: string[] = []
for (const { name, title, prompt, shots } of tasks) {
  if (!shots) continue
  const set = sets.get(name)!
  const marked = set.images.some(p => p.split === 'train')
  const level = accuracy(name, 'prompt', i => !marked || set.images[i]!.split === 'test')
  const rows: string[][] = []
  const drawn: Curve[] = []
  for (const [method, label, colour] of [
    ['probe', 'linear probe', '#1f6fb4'],
    ['tip', 'Tip-Adapter', '#d07a1e'],
  ] as const) {
    const curve: Curve = { name: label, colour, points: [] }
    for (const n of shots) {
      const result = await shotCurve(clip, set, method satisfies Method, n, seeds, [prompt])
      curve.points.push({ shots: n, ...result })
      rows.push([
        label,
        String(n),
        withBars(result),
        `${percent(result.seeds.least)} to ${percent(result.seeds.most)}`,
        String(result.classes),
        String(result.tested),
      ])
      process.stderr.write(`${name} ${method} ${n}: ${withBars(result)}\n`)
    }
    const first = curve.points.find(p => p.low > level.high)
    crossings.push(
      `${title}, ${label}: ${first ? `from ${first.shots} ${first.shots === 1 ? 'shot' : 'shots'} on` : 'for no number of shots tried'}`,
    )
    drawn.push(curve)
  }
  await writeFile(
    join(out, `shots-${name}.svg`),
    curves(title, drawn, { name: 'zero-shot', value: level.value }),
  )
  sections.push(`### ${title[0]!.toUpperCase()}${title.slice(1)}

![${title}: accuracy over the number of shots](paper-shape/shots-${name}.svg)

Zero-shot (\`${prompt}\`): ${withBars(level)} %${marked ? ', on the images that the split marks as test' : ''}.

${table(['method', 'shots', 'top-1 in % (95 % interval)', 'single seeds', 'classes', 'images tested'], rows)}
`)
}

// (c)
const failures: string[] = []
for (const { name, title } of tasks) {
  const set = sets.get(name)!
  const said = answers.get(name)!.prompt
  const pairs = new Map<string, number[]>()
  set.images.forEach((p, i) => {
    if (p.label === said[i]) return
    const pair = `${p.label}\t${said[i]}`
    pairs.set(pair, [...(pairs.get(pair) ?? []), i])
  })
  const most = [...pairs].sort((a, b) => b[1].length - a[1].length || (a[0] < b[0] ? -1 : 1)).slice(0, 5)
  const rows: string[][] = []
  for (const [pair, list] of most) {
    const [label, predicted] = pair.split('\t')
    const { file } = set.images[list[0]!]!
    // Next to the page, which is part of the package; test/data is not.
    const example = `${name}-${rows.length + 1}${extname(file)}`
    await copyFile(file, join(out, example))
    rows.push([`![${label}](paper-shape/${example})`, label!, predicted!, String(list.length)])
  }
  failures.push(`### ${title[0]!.toUpperCase()}${title.slice(1)}

${table(['example', 'shows', 'called', 'images'], rows)}
`)
}

const sum = (of: (set: ImageSet) => number) => [...sets.values()].reduce((n, set) => n + of(set), 0)
const palettes = sum(set => set.palettes)
const imageCount = sum(set => set.images.length)
const withPalettes = tasks.flatMap(({ name, title }) => {
  const { palettes: some, images } = sets.get(name)!
  if (some === 0) return []
  return [`${some === images.length ? 'all' : some} of ${title.replace('held-out style: ', '')}`]
})

/** The largest difference from the figures of the model's card, in points, among data sets with palettes. */
const card = await cardFigures()
const farthest = tasks
  .filter(({ name }) => sets.get(name)!.palettes > 0)
  .flatMap(({ name }) =>
    (['bare', 'prompt', 'ensemble'] as const).map(kind => {
      const written = card.get(name)?.[kind]
      if (written === undefined) throw new Error(`The model's README has no figure for ${name}`)
      return { name, kind, points: Math.abs(Number(percent(accuracy(name, kind).value)) - written) }
    }),
  )
  .reduce((a, b) => (b.points > a.points ? b : a), { name: '', kind: 'bare', points: 0 })
const kinds = { bare: 'bare name', prompt: 'one prompt', ensemble: 'seven prompts' }

await writeFile(
  join(docs, 'paper-shape.md'),
  `# The paper's shape, on the embedded model

Made by \`npm run paper-shape\` (bench/paper-shape/) with clip-native ${version}: embedded model ${clip.info.fingerprint}, ${clip.info.dtype}. Do not edit by hand.

The CLIP paper (Radford et al., 2021, sections 3.1 and 3.2) compares zero-shot classification with learning from a few examples, measures what prompts add, and shows where zero-shot fails. This page repeats these experiments with the small embedded model on the images in \`test/data\` of the repository. It is about icons, emoji and drawings, and says nothing about photographs or about larger models.

Images are read as they are stored in their files. ${palettes} of the ${imageCount} have palettes (${withPalettes.join(', ')}), which OpenAI's preprocessing (and so ours) resizes with NEAREST. The model's README has the figures for the same images converted to RGB first, which differ by up to ${farthest.points.toFixed(1)} points (${farthest.name}, ${kinds[farthest.kind]}) for that reason. Features are computed once. The training examples (shots) are drawn for the seeds ${seeds.join(', ')}. All other images are the test set, except for names never trained on, whose CSV has a split (the weights of one icon set are near duplicates, so they stay on one side). A class with fewer images to draw from than the number of shots is left out of that row, with its images and as an answer. The columns show how many classes and images remain: rows with different numbers of classes are different tasks, and zero-shot is measured over all classes. The brackets contain 95 % of 2000 bootstrap samples of the images, pooled over classes, each image with all its answers over the seeds. They do not include the variation between draws of examples, which the column of single seeds shows from lowest to highest. The linear probe is \`clip.linearProbe\` with its defaults (features before the projection, C = 0.316), and Tip-Adapter is \`clip.tipAdapter\` with its defaults (alpha 1, beta 5.5, no training): no setting was chosen on these images.

## (a) Zero-shot against the number of shots

The interval of these methods lies wholly above that of zero-shot:

${crossings.map(line => `- ${line}`).join('\n')}

${sections.join('\n')}
### Held-out styles: zero-shot only

Most names have only one image, so there is nothing to learn from.

${table(
  ['data', 'images', 'labels', 'top-1 in % (95 % interval)'],
  tasks
    .filter(t => !t.shots)
    .map(({ name }) => {
      const set = sets.get(name)!
      return [name, String(set.images.length), String(set.labels.length), withBars(accuracy(name, 'prompt'))]
    }),
)}

## (b) Prompts and ensembles

![Gain of a prompt over the bare name](paper-shape/prompt-gain.svg)
![Gain of seven prompts over one](paper-shape/ensemble-gain.svg)

${table(
  ['data', 'prompt', 'bare name', 'one prompt', 'seven prompts', 'prompt − bare', 'seven − one'],
  tasks.map(({ name, prompt }) => {
    const [g, e] = [gain(name, 'bare', 'prompt'), gain(name, 'prompt', 'ensemble')]
    const bars = (x: Interval) => `${points(x.value)} (${points(x.low)} to ${points(x.high)})`
    return [
      name,
      `\`${prompt}\``,
      percent(accuracy(name, 'bare').value),
      percent(accuracy(name, 'prompt').value),
      percent(accuracy(name, 'ensemble').value),
      bars(g),
      bars(e),
    ]
  }),
)}

Of these ${2 * tasks.length} differences, ${
    tasks
      .flatMap(({ name }) => [gain(name, 'bare', 'prompt'), gain(name, 'prompt', 'ensemble')])
      .filter(g => g.low > 0 || g.high < 0).length
  } have an interval that does not contain 0. The seven prompts are ${ensemble.map(t => `\`${t}\``).join(', ')}.

## (c) Where it fails

These are the most frequent confusions of zero-shot classification with one prompt, over all images of a data set, each with its first image.

${failures.join('\n')}`,
)
await clip.dispose()
