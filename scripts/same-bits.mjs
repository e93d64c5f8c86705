// Whether two versions of this package give the same bits: both are built, each computes the same things
// through the public API in its own process, and the results are compared byte for byte. For changes that
// should only rearrange the code, and for changes that should only affect the speed (which bench/compare.sh
// measures).
//
//   node scripts/same-bits.mjs REF                  this working tree against a commit
//   node scripts/same-bits.mjs REF REF              two commits
//   node scripts/same-bits.mjs --trees FOLDER FOLDER   two trees that are already built
//
// --models none|small|full   random-weight models of the benchmarks in addition to the embedded one. small
//                  (default): their widths, heads and activations in towers of two blocks; full: as bench/
//                  times them (takes minutes).
// --only WORD      only kernels and models whose name contains WORD (`kernel`, `avx2`, `int8`, `icon-clip`,
//                  ...); if it is repeated, the name must contain all words.
//
// Compared are, on the reference and on every backend and set of features that this machine has
// (scripts/same-bits/results.mjs): embeddings, pooled rows and tokens of images and texts in every dtype,
// classifier scores, preprocessed pixels, and the outputs of every public kernel. NaNs count as equal
// whatever their payload. Exits with 1 and lists the differences if there are any. Commits are checked out
// into the folder that bench/compare.sh uses, <temporary folder>/clip-native-compare-<commit>, and left there
// for the next run.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    trees: { type: 'boolean', default: false },
    models: { type: 'string', default: 'small' },
    only: { type: 'string', multiple: true, default: [] },
  },
})

function fail(message) {
  console.error(message)
  process.exit(2)
}

function run(command, args, cwd) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
  if (error || status !== 0)
    fail(`${command} ${args.join(' ')} in ${cwd}: ${error?.message ?? stdout + stderr}`)
  return stdout.trim()
}

function build(tree) {
  console.error(`Building ${tree}`)
  run('npm', ['run', '--silent', 'build:native'], tree)
  run('npm', ['run', '--silent', 'build:lib'], tree)
  return tree
}

function checkedOut(ref) {
  const commit = run('git', ['rev-parse', '--short', `${ref}^{commit}`], root)
  const tree = join(tmpdir(), `clip-native-compare-${commit}`)
  if (!existsSync(tree)) run('git', ['worktree', 'add', '--detach', tree, commit], root)
  if (!existsSync(join(tree, 'node_modules')))
    symlinkSync(join(root, 'node_modules'), join(tree, 'node_modules'))
  return tree
}

/** The two trees, built if necessary. */
function trees() {
  const [first, second] = positionals
  if (values.trees) {
    if (positionals.length !== 2) fail('Expected two folders: node scripts/same-bits.mjs --trees A B')
    return positionals.map(folder => resolve(folder))
  }
  if (positionals.length < 1 || positionals.length > 2)
    fail('Expected one or two commits: node scripts/same-bits.mjs REF [REF]')
  return [build(checkedOut(first)), build(second === undefined ? root : checkedOut(second))]
}

/** The folders of checkpoints with random weights, which this tree's benchmarks write. */
async function randomModels() {
  if (values.models === 'none') return []
  if (values.models !== 'small' && values.models !== 'full')
    fail(`Expected --models to be none, small or full, got ${values.models}.`)
  const bench = name => import(pathToFileURL(join(root, 'dist/bench', `${name}.js`)).href)
  const [{ model }, { randomModel }, { randomResNet }] = await Promise.all(
    ['cases', 'random-model', 'random-resnet'].map(bench),
  )
  const small = (name, size) => {
    const shape = model(name)
    const { image, text } = shape
    return {
      ...shape,
      name: `same-bits ${name}`,
      image: { ...image, layers: 2, size },
      text: { ...text, layers: 2 },
    }
  }
  const shapes =
    values.models === 'full'
      ? [model('ViT-B/32'), model('ViT-L/14')]
      : [small('ViT-B/32', 224), small('ViT-H-14', 112)]
  return [
    ...(await Promise.all(
      shapes.map(async shape => ({ name: shape.name, folder: await randomModel(shape) })),
    )),
    {
      name: `${shapes[0].name} of 32-bit weights`,
      folder: await randomModel(shapes[0], 'float32'),
    },
    { name: 'RN50', folder: await randomResNet(), textless: true },
  ]
}

/** [name, bytes] of everything that a tree computes. */
function results(tree, models, folder) {
  console.error(`Computing with ${tree}`)
  const to = join(folder, 'results')
  const given = JSON.stringify({ tree, models, only: values.only, to })
  const { status } = spawnSync(process.execPath, [join(root, 'scripts/same-bits/results.mjs'), given], {
    stdio: ['ignore', 2, 2],
  })
  if (status !== 0) fail(`${tree} did not compute everything.`)
  const bytes = readFileSync(`${to}.bin`)
  const index = JSON.parse(readFileSync(`${to}.json`, 'utf8'))
  let at = 0
  return new Map(
    index.map(([name, length]) => {
      const slice = bytes.subarray(at, at + length)
      at += length
      return [name, slice]
    }),
  )
}

const [before, after] = trees()
const models = await randomModels()
const [old, now] = [before, after].map(tree => {
  const folder = mkdtempSync(join(tmpdir(), 'clip-native-same-bits-'))
  try {
    return results(tree, models, folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

// A name has the form `what | backend | the case`.
const table = new Map()
const differences = []
/** What the older version can't do. */
let added = 0
for (const name of new Set([...old.keys(), ...now.keys()])) {
  const [what, backend] = name.split(' | ')
  const row = `${backend} | ${what}`
  const sum = table.get(row) ?? { results: 0, bytes: 0, different: 0 }
  table.set(row, sum)
  const [a, b] = [old.get(name), now.get(name)]
  if (!a) {
    added++
    continue
  }
  sum.results++
  sum.bytes += a.length
  if (b && a.equals(b)) continue
  sum.different++
  const said = !b
    ? `only ${before} has it`
    : a.length !== b.length
      ? `${a.length} bytes became ${b.length}`
      : `${a.reduce((n, byte, i) => n + (byte === b[i] ? 0 : 1), 0)} of ${a.length} bytes differ`
  differences.push(`${name}: ${said}`)
}
console.log(`Before: ${before}\nAfter: ${after}\n`)
console.log('| backend | what | results | bytes | different |\n|---|---|---|---|---|')
for (const [row, { results, bytes, different }] of table)
  console.log(`| ${row} | ${results} | ${bytes} | ${different} |`)
for (const line of differences.slice(0, 50)) console.log(`\nDIFFERENT ${line}`)
if (added > 0) console.log(`\nNot compared, because only ${after} has them: ${added} results.`)
const all = old.size === 0 ? 'Nothing was compared.' : `${old.size} results`
console.log(
  `\n${all}: ${differences.length === 0 ? 'all are the same to the bit' : `${differences.length} differ`}.`,
)
process.exitCode = differences.length === 0 && old.size > 0 ? 0 : 1
