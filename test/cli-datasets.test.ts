/** The command line on folders and data sets: what it leaves out, how it is stopped, what it says of its model. */

import { spawn } from 'node:child_process'
import {
  copyFileSync,
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
import { buffer } from 'node:stream/consumers'
import test, { type ExecutionContext } from 'ava'
import { pack } from 'tar-stream'
import { packageRoot } from '../lib/base/package.js'
import { exampleImages } from './api/helpers.js'
import { testData } from './helpers/test-data.js'
import { answerHub, bytes, sandbox, serve, tinyRepo } from './hub/server.js'

const main = join(packageRoot, 'dist', 'lib', 'cli', 'main.js')
const base = mkdtempSync(join(tmpdir(), 'clip-native-cli-datasets-'))
const at = (name: string) => join(base, name)
test.after.always(() => rmSync(base, { recursive: true, force: true }))

const dog = exampleImages.find(path => path.endsWith('dog.png'))!
const bicycle = exampleImages.find(path => path.endsWith('bicycle.jpg'))!
const digits = join(testData, 'digits.csv')

interface Outcome {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

/** Stderr that says it is a terminal, so that bars are drawn. */
const terminal = ['--import', 'data:text/javascript,Object.assign(process.stderr,{isTTY:true,columns:120})']

function cli(
  args: readonly string[],
  {
    flags = [],
    env,
    onStderr,
  }: {
    flags?: string[]
    env?: NodeJS.ProcessEnv
    onStderr?: (all: string, kill: (signal: NodeJS.Signals) => void) => void
  } = {},
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...flags, main, ...args], {
      env: env ?? { ...process.env, COLUMNS: '80' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const out = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const)
      child[name].setEncoding('utf8').on('data', piece => {
        out[name] += piece
        if (name === 'stderr') onStderr?.(out.stderr, signal => child.kill(signal))
      })
    child.on('error', reject).on('close', (code, signal) => resolve({ code, signal, ...out }))
  })
}

function folderOf(name: string, entries: readonly string[]): string {
  for (const entry of entries) {
    const [path, target] = entry.split(' -> ') as [string, string?]
    const file = join(at(name), path)
    mkdirSync(dirname(file), { recursive: true })
    if (target !== undefined) symlinkSync(target, file)
    else if (path.endsWith('.txt')) writeFileSync(file, 'x')
    else copyFileSync(/png$/i.test(path) ? dog : bicycle, file)
  }
  return at(name)
}

test('embed --store embeds every kind of image, and counts and names the files that it leaves out', async t => {
  folderOf('elsewhere', ['x.png'])
  const root = folderOf('images', [
    ...['a.jfif', 'b.JPE', 'deep/c.PNG', 'notes.txt', 'deep/more\n.txt', 'out -> ../elsewhere', 'loop -> .'],
  ])
  const store = at('images.store')
  const text = await cli(['embed', root, '--store', store])
  t.is(text.code, 0, text.stderr)
  t.regex(text.stdout, /: 3 images \(3 embedded/)
  t.regex(
    text.stderr,
    /left out: 2 files without an image extension: .*notes\.txt, .*deep\/more.{1,2}\.txt\n/,
  )
  t.regex(text.stderr, /left out: 1 link that is not followed \(--follow-links\): .*images\/out\n/)
  t.regex(text.stderr, /left out: 1 link to something that is counted at its own path: .*images\/loop\n/)
  const json = await cli(['embed', root, '--store', store, '--json', '--follow-links'])
  t.is(json.code, 0, json.stderr)
  t.is(json.stderr, '')
  const { leftOut, ...rest } = JSON.parse(json.stdout)
  t.like(rest, { size: 4, added: 1, skipped: 3, failed: 0, stopped: false })
  t.is(leftOut.count, 3)
  t.deepEqual(
    leftOut.files
      .map(({ path, reason }: { path: string; reason: string }) => [path.slice(root.length + 1), reason])
      .sort(),
    [
      ['deep/more\n.txt', 'name'],
      ['loop', 'counted'],
      ['notes.txt', 'name'],
    ],
  )
  // A loss is told by the exit code.
  symlinkSync('nowhere', join(root, 'gone.png'))
  const loss = await cli(['embed', root, '--store', store])
  t.is(loss.code, 1)
  t.regex(loss.stderr, /left out: 1 that could not be read: .*gone\.png is a link that leads nowhere\n/)
  const none = await cli(['embed', join(root, 'none'), '--store', store])
  t.is(none.code, 2)
  t.regex(none.stderr, /none: does not exist\n/)
})

test('eval and learn read images with any extension, name files that they leave out, and refuse a class without images', async t => {
  const root = folderOf('classes', [
    'dog/a.png',
    'dog/b.PNG',
    'bicycle/a.jfif',
    'bicycle/b.jpe',
    'dog/notes.txt',
  ])
  const text = await cli(['eval', root])
  t.is(text.code, 0, text.stderr)
  t.regex(text.stdout, /images +4\n/)
  t.regex(text.stderr, /left out: 1 file without an image extension: .*dog\/notes\.txt\n/)
  const report = JSON.parse((await cli(['eval', root, '--json'])).stdout)
  t.is(report.leftOut.count, 1)
  t.deepEqual(report.labels, ['bicycle', 'dog'])
  const learned = JSON.parse((await cli(['learn', root, '--out', at('probe'), '--json'])).stdout)
  t.like(learned, { examples: 4, labels: 2 })
  t.is(learned.leftOut.count, 1)
  // What was learned is measured.
  const measured = await cli(['eval', root, '--classifier', at('probe'), '--json'])
  t.like(JSON.parse(measured.stdout), { task: 'probe', top1: 1, classifier: { kind: 'linear-probe' } })
  for (const args of [
    ['--task', 'probe'],
    ['--labels', 'dog'],
    ['--shots', '1'],
    ['--template', '{}'],
  ]) {
    const both = await cli(['eval', root, '--classifier', at('probe'), ...args])
    t.is(both.code, 2)
    t.regex(both.stderr, /--classifier` to be used without/)
  }
  folderOf('classes', ['cat/a.txt'])
  for (const args of [
    ['eval', root],
    ['learn', root, '--out', at('x')],
  ]) {
    const lost = await cli(args)
    t.is(lost.code, 2)
    t.regex(lost.stderr, /class "cat" has no image: .*a\.txt has no image extension/)
  }
})

test('class numbers of a tar need --class-names, and each line of a caption file is a text', async t => {
  const tar = pack()
  for (const [i, file] of [dog, bicycle].entries()) {
    tar.entry({ name: `${i}.jpg` }, readFileSync(file))
    tar.entry({ name: `${i}.cls` }, String(1 - i))
    tar.entry({ name: `${i}.txt` }, [1, 2, 3].map(n => `caption ${n} of image ${i}`).join('\n'))
  }
  tar.finalize()
  writeFileSync(at('numbers.tar'), await buffer(tar))
  writeFileSync(at('classnames.txt'), 'bicycle\ndog\n\n')
  for (const args of [
    ['eval', at('numbers.tar')],
    ['learn', at('numbers.tar'), '--out', at('x')],
  ]) {
    const refused = await cli(args)
    t.is(refused.code, 2)
    t.regex(
      refused.stderr,
      /the class of 0 is the number 1, which is not a name: give the names with --class-names/,
    )
  }
  const named = await cli(['eval', at('numbers.tar'), '--class-names', at('classnames.txt'), '--json'])
  t.deepEqual(JSON.parse(named.stdout).labels, ['dog', 'bicycle'])
  const told = await cli(['eval', at('numbers.tar'), '--class-names', 'numbers', '--json'])
  t.deepEqual(JSON.parse(told.stdout).labels, ['1', '0'])
  const retrieval = await cli(['eval', at('numbers.tar'), '--task', 'retrieval', '--json'])
  t.like(JSON.parse(retrieval.stdout), { images: 2, texts: 6 })
  const adapted = await cli(['adapt', at('numbers.tar'), '--out', at('adapter'), '--epochs', '1', '--json'])
  t.is(JSON.parse(adapted.stdout).pairs, 6, adapted.stderr)
})

const note = /knows icons and emoji, not photographs/g

test('every command whose results depend on the embedded model prints one notice about it', async t => {
  const root = folderOf('noted', ['dog/a.png', 'bicycle/a.jpg', 'dog/b.png', 'bicycle/b.jpg'])
  const store = at('noted.store')
  for (const args of [
    ['embed', root, '--store', store],
    ['search', store, 'a dog'],
    ['embed', dog, bicycle],
    ['embed', dog, '--out', at('x.npy')],
    ['eval', root],
    ['learn', root, '--out', at('noted.probe')],
    ['adapt', root, '--out', at('noted.adapter'), '--epochs', '1'],
  ]) {
    const { code, stdout, stderr } = await cli(args)
    t.is(code, 0, stderr)
    t.is(stderr.match(note)?.length, 1, args.join(' '))
    t.notRegex(stdout, note)
    const machine = await cli([...args, '--json'])
    t.is(machine.stderr, '', 'no note in what machines read')
  }
  const own = await cli([
    'classify',
    dog,
    '--labels',
    'dog',
    '--model',
    join(packageRoot, 'models/icon-clip'),
  ])
  t.is(own.stderr, '')
})

const unix = process.platform === 'win32' ? test.skip : test

/** The ends of a command that is stopped while its bar is shown, by each signal in turn. */
async function stopped(t: ExecutionContext, signals: readonly [name: NodeJS.Signals, status: number][]) {
  const mark = signals.map(([name]) => name).join('-')
  const many = readdirSync(join(testData, 'digits/one')).map(name => join(testData, 'digits/one', name))
  const labels = Array.from({ length: 3000 }, (_, i) => `label number ${i}`)
  writeFileSync(at(`labels.${mark}`), labels.join('\n'))
  const commands = [
    ['eval', digits, '--report', at(`${mark}.html`)],
    ['eval', digits, '--task', 'retrieval'],
    ['learn', digits, '--out', at(`${mark}.probe`)],
    ['learn', digits, '--method', 'tip', '--fine-tune', '--out', at(`${mark}.tip`)],
    ['adapt', digits, '--out', at(`${mark}.adapter`)],
    ['embed', ...many, ...many, ...many, ...many, '--out', at(`${mark}.npy`)],
    ['classify', ...many, ...many, '--labels', 'one,two'],
    ['classify', dog, '--labels-file', at(`labels.${mark}`), '--save', at(`${mark}.saved`)],
    ['embed', join(testData, 'digits'), '--store', at(`${mark}.store`)],
  ]
  for (const [i, args] of commands.entries()) {
    const [name, status] = signals[i % signals.length]!
    let isStopped = false
    const { code, signal, stderr } = await cli(args, {
      flags: terminal,
      onStderr(all, kill) {
        if (isStopped || !all.includes('\u001b[?25l')) return
        isStopped = true
        kill(name)
      },
    })
    const what = `${name}, ${args.filter(arg => !arg.endsWith('.png')).join(' ')}`
    t.deepEqual([code, signal], [status, null], `${what}: ${stderr}`)
    t.true(stderr.lastIndexOf('\u001b[?25h') > stderr.lastIndexOf('\u001b[?25l'), `${what}: the cursor`)
    t.deepEqual(
      readdirSync(base).filter(name => name.startsWith(`${mark}.`) && name !== `${mark}.store`),
      [],
      `${what}: nothing is left`,
    )
  }
}

unix('Ctrl-C ends every command with 130, the cursor shown and nothing half-written', t =>
  stopped(t, [['SIGINT', 130]]),
)

unix('SIGTERM ends commands with 143 and SIGHUP with 129, the cursor shown and nothing half-written', t =>
  stopped(t, [
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ]),
)

test('every command shows the download of a named model in the same way', async t => {
  const id = 'someone/tiny-clip'
  const server = await serve(t, (request, response) => {
    if (!answerHub(request, response, id, tinyRepo(bytes(200_000)))) response.writeHead(404).end()
  })
  for (const args of [
    ['classify', dog, '--labels', 'dog'],
    ['embed', dog],
    ['eval', digits],
    ['learn', digits, '--out', at('x')],
    ['search', at('x'), 'dog'],
    ['info'],
    ['bench'],
  ]) {
    const { env } = sandbox({ HF_ENDPOINT: server.url })
    const log = await cli([...args, '--model', id], { env })
    t.regex(log.stderr, /someone\/tiny-clip: downloading model\.safetensors \(200 kB\)/, args[0])
    t.regex(log.stderr, /done: model\.safetensors/)
    // Its weights are noise: the command fails when it is there.
    t.is(log.code, 1)
  }
  const { env } = sandbox({ HF_ENDPOINT: server.url })
  const bar = await cli(['info', '--model', id], { env, flags: terminal })
  t.regex(bar.stderr, /model\.safetensors \[=+\] 100% \| 200 kB of 200 kB/)
  t.true(bar.stderr.lastIndexOf('\u001b[?25h') > bar.stderr.lastIndexOf('\u001b[?25l'))
})
