// npm run demo: builds what is not built yet, classifies the example images with the embedded model, and
// compares the probabilities with PyTorch's. Exits with 1 if a wrong label wins or a probability differs.
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { requireTools } from './require-tools.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
/** The largest allowed difference of a probability from PyTorch's (which are stored with six digits). */
const tolerance = 1e-4

/** The modification time of the newest file under `paths` whose name ends in one of `ends`; 0 if there is none. */
function newest(paths, ends) {
  let time = 0
  for (const path of paths) {
    const info = statSync(path, { throwIfNoEntry: false })
    if (!info) continue
    if (info.isDirectory())
      time = Math.max(
        time,
        newest(
          readdirSync(path).map(name => join(path, name)),
          ends,
        ),
      )
    else if (ends.some(end => path.endsWith(end))) time = Math.max(time, info.mtimeMs)
  }
  return time
}

function run(script, what) {
  console.log(`${what} ...`)
  const { status } = spawnSync('npm', ['run', '--silent', script], {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
  if (status !== 0) {
    console.error(`npm run ${script} failed (${status})`)
    process.exit(1)
  }
}

const at = path => join(root, path)
requireTools()
const native = newest(['native', 'CMakeLists.txt', 'package.json'].map(at), [
  '.cc',
  '.h',
  '.inl',
  '.txt',
  '.cmake',
  'package.json',
])
if (newest([at('build/Release')], ['.node']) < native) run('build:native', 'Building the native addon')
if (newest([at('dist/lib/index.js')], ['.js']) < newest([at('lib')], ['.ts']))
  run('build:lib', 'Compiling TypeScript')

const { load } = await import('../dist/lib/index.js')
const { chart, columns } = await import('../dist/lib/cli/output.js')
const examples = at('models/icon-clip/examples')
const { template, labels, probabilities } = JSON.parse(readFileSync(join(examples, 'expected.json'), 'utf8'))

const started = performance.now()
const clip = await load()
const classifier = await clip.classifier(labels, { templates: template })
const ready = performance.now()
console.log(
  `\nicon-clip on ${clip.info.backend}, ${clip.info.dtype}: ${labels.length} labels as "${template}", ready in ${Math.round(ready - started)} ms.`,
)
console.log(
  'It knows icons and emoji, not photographs. Whoever drew these images was not in its training data.\n',
)

const names = readdirSync(examples)
  .filter(name => /\.(png|jpg)$/.test(name))
  .sort()
let right = 0
let largest = 0
let milliseconds = 0
for (const name of names) {
  const before = performance.now()
  const all = await classifier.classify(join(examples, name), { topK: labels.length })
  milliseconds += performance.now() - before
  const wanted = name.replace(/\.\w+$/, '') // the files are named after what they show
  const won = all[0].label === wanted
  if (won) right++
  // The condition is written so that NaN counts as a difference.
  for (const { index, score } of all) {
    const difference = Math.abs(score - probabilities[name][index])
    if (!(difference <= largest)) largest = difference
  }
  console.log(`${name}${won ? '' : `: expected ${wanted}`}\n${chart(all.slice(0, 3), columns())}\n`)
}
await clip.dispose()

const same = largest <= tolerance
console.log(
  `${right} of ${names.length} right; ${(milliseconds / names.length).toFixed(1)} ms an image, decoding included.`,
)
console.log(
  `Largest difference from PyTorch's probabilities: ${largest.toExponential(1)} (${same ? 'within' : 'PAST'} ${tolerance})`,
)
if (names.length === 0 || right < names.length || !same) process.exitCode = 1
