/** The guides and the README: their code is JavaScript, what it names exists, and their links lead somewhere. */

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../lib/base/package.js'
import { Classifier } from '../lib/classifier/classifier.js'
import { Clip } from '../lib/clip.js'
import * as api from '../lib/index.js'
import * as kernels from '../lib/kernels.js'
import { Adapter } from '../lib/learn/adapt.js'
import { Store } from '../lib/store/store.js'

const guides = readdirSync(join(packageRoot, 'docs')).filter(name => name.endsWith('.md'))
const pages = ['README.md', 'CONTRIBUTING.md', ...guides.map(name => `docs/${name}`)].map(path => ({
  path,
  text: readFileSync(join(packageRoot, path), 'utf8'),
}))
const blocks = pages.flatMap(({ path, text }) =>
  [...text.matchAll(/^```js\n(.*?)^```/gms)].map(match => ({ path, code: match[1]! })),
)

/** What each name in the examples is. */
const methodsOf = (...classes: { prototype: object }[]) =>
  classes.flatMap(c => Object.getOwnPropertyNames(c.prototype))
const things: Record<string, string[]> = {
  clip: [...methodsOf(Clip), 'info'],
  store: [...methodsOf(Store), 'size', 'folder', 'dtype', 'embedDim'],
  classifier: methodsOf(Classifier),
  pets: methodsOf(Classifier),
  probe: methodsOf(Classifier),
  adapter: methodsOf(Adapter),
}

test('the code of the pages is valid JavaScript, and the package exports what it imports', t => {
  t.true(blocks.length >= 8, `${blocks.length} blocks`)
  const AsyncFunction = (async () => {}).constructor as new (code: string) => unknown
  for (const { path, code } of blocks) {
    const body = code
      .replace(/^import .*$/gm, '')
      .replace(/^export default /gm, 'void ')
      .replace(/^export /gm, '')
    t.notThrows(() => new AsyncFunction(body), `${path}: ${code}`)
    for (const [, names, from] of code.matchAll(/import \{ ([^}]+) \} from '(clip-native[^']*)'/g))
      for (const name of names!.split(', '))
        t.true(name in (from === 'clip-native' ? api : kernels), `${path}: ${name}`)
  }
})

test('methods that the pages name exist', t => {
  let seen = 0
  for (const { path, text } of pages)
    for (const [all, thing, method] of text.matchAll(
      /\b(clip|store|classifier|pets|probe|adapter)\.(\w+)\(/g,
    )) {
      if (text.includes('import clip') || !things[thing!]) continue
      seen++
      // The page beside it quotes OpenAI's Python.
      const python = path === 'docs/migrating.md' && ['load', 'tokenize'].includes(method!)
      t.true(python || things[thing!]!.includes(method!), `${path}: ${all}`)
    }
  t.true(seen > 40, `${seen} calls`)
})

test('links of the pages lead to files and headings', t => {
  const anchor = (heading: string) =>
    heading
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .trim()
      .replace(/\s+/g, '-')
  let seen = 0
  for (const { path, text } of pages)
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target!)) continue
      seen++
      const [file, hash] = target!.split('#')
      const at = file === '' ? join(packageRoot, path) : join(packageRoot, dirname(path), file!)
      t.true(existsSync(at), `${path}: ${target}`)
      if (hash === undefined) continue
      const headings = [...readFileSync(at, 'utf8').matchAll(/^#+ (.*)$/gm)].map(m => anchor(m[1]!))
      t.true(headings.includes(hash), `${path}: ${target}`)
    }
  t.true(seen > 20, `${seen} links`)
})
