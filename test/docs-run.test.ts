/**
 * The code of the README and the guides, run as a reader would: every block of a page, as written and in order, in a
 * folder that has the files which the page names. Names of models that would have to be downloaded are replaced by the
 * embedded model's folder.
 */

import { execFile } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../lib/base/package.js'
import { patience } from './helpers/patience.js'
import { testData } from './helpers/test-data.js'

const scratch = mkdtempSync(join(tmpdir(), 'clip-pages-'))
test.after.always(() => rmSync(scratch, { recursive: true, force: true }))

/** Blocks that another test runs, by a word of theirs. */
const elsewhere: Record<string, string> = {
  'npm ci': '.ci/run, which begins with these commands',
  'npm install clip-native': 'npm run test:package, on the tarball',
  'npx clip-native build': 'npm run test:package, which compiles from the tarball',
  'esbuild main.js': 'npm run test:package, with the real bundlers',
  'webpack.config': 'npm run test:package, with the real bundlers',
  'vite.config': 'npm run test:package, with the real bundlers',
  'next.config': 'npm run test:package, with the real bundlers',
  'gpu-selfcheck': 'test/cuda, on a stand-in for the driver',
}

interface Block {
  language: string
  code: string
}

const pages = ['README.md', ...readdirSync(join(packageRoot, 'docs')).map(name => `docs/${name}`)].flatMap(
  path => {
    if (!path.endsWith('.md')) return []
    const text = readFileSync(join(packageRoot, path), 'utf8')
    const blocks = [...text.matchAll(/^```(\w*)\n(.*?)^```/gms)].map(
      ([, language, code]): Block => ({
        language: language!,
        code: code!,
      }),
    )
    return blocks.length > 0 ? [{ path, blocks }] : []
  },
)

const images = join(packageRoot, 'models/icon-clip/examples')
const icons = ['dog.png', 'rocket.png', 'guitar.jpg', 'anchor.png'].filter(name =>
  readdirSync(images).includes(name),
)
const digits = join(testData, 'digits')

/** A folder with what the blocks name: images, folders of images, the package, the command. */
function folderFor(name: string, code: string): string {
  const folder = join(scratch, name.replaceAll('/', '-'))
  mkdirSync(join(folder, 'node_modules'), { recursive: true })
  symlinkSync(packageRoot, join(folder, 'node_modules/clip-native'), 'dir')
  mkdirSync(join(folder, 'node_modules/.bin'))
  const command = join(folder, 'node_modules/.bin/clip-native')
  writeFileSync(
    command,
    `#!/bin/sh\nexec ${process.execPath} ${join(packageRoot, 'dist/lib/cli/main.js')} "$@"\n`,
  )
  chmodSync(command, 0o755)
  let made = 0
  for (const [, path] of code.matchAll(/['" ]((?:[\w-]+\/)*[\w-]+\.(?:jpe?g|png))\b/g)) {
    if (path!.startsWith('node_modules/')) continue // it is there
    const file = join(folder, path!)
    mkdirSync(dirname(file), { recursive: true })
    copyFileSync(join(images, icons[made++ % icons.length]!), file)
  }
  if (/\*\.(png|jpg)/.test(code))
    for (const icon of icons) copyFileSync(join(images, icon), join(folder, icon))
  if (/\bphotos\b/.test(code)) classes(join(folder, 'photos'))
  if (/\bexamples\b/.test(code)) classes(join(folder, 'examples'))
  if (/pairs\.csv/.test(code)) {
    const rows = icons.map(icon => `${icon},an icon of a ${icon.split('.')[0]}`)
    writeFileSync(join(folder, 'pairs.csv'), `file,text\n${rows.join('\n')}\n`)
  }
  cpSync(join(packageRoot, 'models'), join(folder, 'models'), { recursive: true })
  return folder
}

/** Two classes of a dozen different images each. */
function classes(folder: string): void {
  for (const digit of ['three', 'seven']) {
    mkdirSync(join(folder, digit), { recursive: true })
    for (const file of readdirSync(join(digits, digit)).slice(0, 12))
      copyFileSync(join(digits, digit, file), join(folder, digit, file))
  }
}

const adapted = (code: string, folder: string): string =>
  code
    .replaceAll(
      /'ViT-B\/32'|'openai\/clip-vit-base-patch32'|'google\/siglip2-base-patch16-224'|'\.\/clip-vit-base-patch32'|'\/opt\/clip'/g,
      "'models/icon-clip'",
    )
    .replaceAll('--model ViT-B/32', '--model models/icon-clip')
    .replaceAll('/opt/', `${folder}/`)

function run(command: string, args: string[], folder: string): Promise<{ code: number; out: string }> {
  const env = {
    ...process.env,
    PATH: `${join(folder, 'node_modules/.bin')}:${process.env.PATH}`,
    COLUMNS: '80',
  }
  return new Promise(resolve => {
    execFile(command, args, { cwd: folder, env, timeout: patience * 240_000 }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code ?? -1) : 0, out: stdout + stderr })
    })
  })
}

const unix = process.platform === 'win32' ? test.skip : test
for (const { path, blocks } of pages) {
  const mine = blocks.filter(
    ({ language, code }) =>
      ['js', 'sh'].includes(language) && !Object.keys(elsewhere).some(word => code.includes(word)),
  )
  if (mine.length === 0) continue
  unix(`${path}: its code runs as written, in order`, async t => {
    const folder = folderFor(path, mine.map(({ code }) => code).join('\n'))
    let programs = 0
    for (let i = 0; i < mine.length; i++) {
      const { language, code } = mine[i]!
      if (language === 'sh') {
        const { code: status, out } = await run('sh', ['-e', '-c', adapted(code, folder)], folder)
        t.is(status, 0, `${code}\n${out}`)
        continue
      }
      // Blocks that import nothing go on with the program before them.
      if (!/^import /m.test(code) && programs > 0) continue
      const more = mine.slice(i + 1)
      const next = more.findIndex(block => block.language === 'js' && /^import /m.test(block.code))
      const rest = (next < 0 ? more : more.slice(0, next)).filter(block => block.language === 'js')
      const program = `page-${programs++}.mjs`
      writeFileSync(
        join(folder, program),
        adapted([code, ...rest.map(block => block.code)].join('\n'), folder),
      )
      const { code: status, out } = await run(process.execPath, [program], folder)
      t.is(status, 0, `${code}\n${out}`)
    }
  })
}

test('every code block of the pages is run here or in a named test', t => {
  const kinds = new Set(pages.flatMap(({ blocks }) => blocks.map(({ language }) => language)))
  t.deepEqual(
    [...kinds].filter(kind => !['js', 'ts', 'sh', ''].includes(kind)),
    [],
  )
  for (const word of Object.keys(elsewhere))
    t.true(
      word === 'gpu-selfcheck' ||
        word === 'next.config' ||
        word === 'npm install clip-native' ||
        pages.some(({ blocks }) => blocks.some(({ code }) => code.includes(word))),
      `no block has ${word} any more`,
    )
})
