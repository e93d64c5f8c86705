/** How files that a caller names are written: whole or not at all, through links, into devices and pipes. */

import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { chmod, lstat, readFile, readlink, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import test from 'ava'
import { ClipError } from '../lib/base/errors.js'
import { writeOutput } from '../lib/base/output-file.js'
import { packageRoot } from '../lib/base/package.js'
import { errorLine } from '../lib/cli/output.js'
import { load } from '../lib/index.js'
import { exampleImages } from './api/helpers.js'

const folder = mkdtempSync(join(tmpdir(), 'clip-output-'))
test.after.always(() => rmSync(folder, { recursive: true, force: true }))
let made = 0
const fresh = (ending = 'bin') => join(folder, `${made++}.${ending}`)

const bytes = (text: string) => new TextEncoder().encode(text)
const write = (file: string, text: string) => writeOutput(file, output => output.write(bytes(text)))
/** What lies beside a file and begins with its name. */
const beside = (file: string) =>
  readdirSync(folder).filter(name => name.startsWith(`${basename(file)}.`) && name.endsWith('.part'))
const root = process.getuid?.() === 0

const unix = process.platform === 'win32' ? test.skip : test

test('an output replaces a file completely, and no temporary file is left', async t => {
  const file = fresh()
  await write(file, 'old')
  await writeOutput(file, async output => {
    await output.write(bytes('head'))
    t.is(await readFile(file, 'utf8'), 'old')
    await output.write(bytes(' and tail'))
    await output.write(bytes('HEAD'), 0)
  })
  t.is(await readFile(file, 'utf8'), 'HEAD and tail')
  t.deepEqual(beside(file), [])
})

test('an output that fails does not change the existing file', async t => {
  const file = fresh()
  await write(file, 'old')
  const stopped = new Error('stopped')
  const error = await t.throwsAsync(
    writeOutput(file, async output => {
      await output.write(bytes('half'))
      throw stopped
    }),
  )
  t.is(error, stopped)
  t.is(await readFile(file, 'utf8'), 'old')
  t.deepEqual(beside(file), [])
})

unix('an output follows links, also one that leads nowhere yet, and keeps them', async t => {
  const [file, link, chain, dangling, nowhere] = [fresh(), fresh(), fresh(), fresh(), fresh()]
  await write(file, 'old')
  await symlink(file, link)
  await symlink(link, chain)
  await symlink(nowhere, dangling)
  await write(chain, 'through two links')
  t.is(await readFile(file, 'utf8'), 'through two links')
  t.is(await readlink(chain), link)
  t.true((await lstat(link)).isSymbolicLink())
  await write(dangling, 'made')
  t.is(await readFile(nowhere, 'utf8'), 'made')
  t.true((await lstat(dangling)).isSymbolicLink())
})

unix('a saved classifier goes through a link and keeps the mode of the file behind it', async t => {
  const [file, link] = [fresh('safetensors'), fresh('safetensors')]
  await write(file, 'old')
  await chmod(file, 0o600)
  await symlink(file, link)
  await using clip = await load(undefined, { threads: 1 })
  await (await clip.classifier(['dog', 'cat'])).save(link)
  t.true((await lstat(link)).isSymbolicLink())
  t.is((await stat(file)).mode & 0o777, 0o600)
  t.deepEqual((await clip.loadClassifier(file)).labels, ['dog', 'cat'])
})

unix('links that form a loop are refused by name', async t => {
  const [a, b] = [fresh(), fresh()]
  await symlink(a, b)
  await symlink(b, a)
  const error = await t.throwsAsync(write(a, 'x'), { code: 'ERR_CLIP_INPUT' })
  t.true(error.message.startsWith(a))
  t.regex(error.message, /form a loop/)
})

unix('an output keeps the mode of the file that it replaces', async t => {
  const file = fresh()
  await write(file, 'old')
  for (const mode of [0o600, 0o640, 0o664]) {
    await chmod(file, mode)
    await write(file, `with ${mode.toString(8)}`)
    t.is((await stat(file)).mode & 0o7777, mode)
  }
  const plain = fresh()
  await writeFile(plain, '')
  const other = fresh()
  await write(other, '')
  t.is((await stat(other)).mode, (await stat(plain)).mode)
})

const unprivileged = root || process.platform === 'win32' ? test.skip : test
unprivileged('a read-only file is not replaced (skipped for root, who may write to it)', async t => {
  const file = fresh()
  await write(file, 'old')
  await chmod(file, 0o444)
  await t.throwsAsync(write(file, 'new'), { code: 'ERR_CLIP_INPUT', message: /no permission/ })
  t.is(await readFile(file, 'utf8'), 'old')
})

test('folders, and files in folders that do not exist, are refused by name', async t => {
  await t.throwsAsync(write(folder, 'x'), { code: 'ERR_CLIP_INPUT', message: /a folder exists at this path/ })
  const file = join(folder, 'no', 'such.bin')
  const error = await t.throwsAsync(write(file, 'x'), { code: 'ERR_CLIP_INPUT' })
  t.is(error.message, `${file}: can't be written (there is no folder ${join(folder, 'no')})`)
})

unix('a pipe gets all bytes, more than it holds at a time, and stays a pipe', async t => {
  const pipe = fresh()
  execFileSync('mkfifo', [pipe])
  const data = new Uint8Array(300_000).map((_, i) => i % 251)
  const reader = spawn('sh', ['-c', 'sleep 0.2; exec cat "$0"', pipe], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  // The shell's reader opens late; a writer of our own keeps the pipe open for it.
  const holder = spawn('sh', ['-c', 'exec 3<>"$0"; sleep 30', pipe])
  const got: Buffer[] = []
  const done = new Promise<void>(resolve => {
    reader.stdout.on('data', (piece: Buffer) => {
      got.push(piece)
      if (Buffer.concat(got).byteLength >= data.byteLength) resolve()
    })
  })
  const send = async () => {
    for (;;) {
      try {
        return await writeOutput(pipe, output => output.write(data))
      } catch (error) {
        if (!/nobody reads/.test((error as Error).message)) throw error
        await new Promise(resolve => setTimeout(resolve, 20))
      }
    }
  }
  await send()
  await done
  holder.kill()
  reader.kill()
  t.deepEqual(new Uint8Array(Buffer.concat(got)), data)
  t.true((await stat(pipe)).isFIFO())
})

unix('a pipe that nobody reads from is an error, not a wait', async t => {
  const pipe = fresh()
  execFileSync('mkfifo', [pipe])
  await t.throwsAsync(write(pipe, 'x'), { code: 'ERR_CLIP_INPUT', message: /this pipe has no reader/ })
  t.true((await stat(pipe)).isFIFO())
})

unix('what needs its beginning written last is refused by name on a pipe', async t => {
  await t.throwsAsync(
    writeOutput('/dev/null', output => output.write(bytes('x'), 0)),
    { code: 'ERR_CLIP_INPUT', message: /^\/dev\/null: is not a regular file/ },
  )
  t.true((await stat('/dev/null')).isCharacterDevice())
})

/** A command of the package in a process of its own. */
function cli(args: string[], shell?: string) {
  const main = join(packageRoot, 'dist', 'lib', 'cli', 'main.js')
  const command = [process.execPath, main, ...args]
  const child =
    shell === undefined
      ? spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] })
      : spawn('sh', ['-c', shell, ...command], { stdio: ['ignore', 'pipe', 'pipe'] })
  const out: Buffer[] = []
  let stderr = ''
  child.stdout.on('data', piece => out.push(piece))
  child.stderr.on('data', piece => {
    stderr += piece
  })
  const ended = new Promise<{ code: number | null; stdout: Buffer; stderr: string }>(resolve => {
    child.on('close', code => resolve({ code, stdout: Buffer.concat(out), stderr }))
  })
  return { child, ended }
}

const linux = process.platform === 'linux' ? test : test.skip

linux('embed --out /dev/full says that the disk is full, and fails', async t => {
  const { code, stderr } = await cli(['embed', '--text', 'a dog', '--out', '/dev/full']).ended
  t.is(code, 2)
  t.regex(stderr, /\/dev\/full: can't be written \(the disk is full\)/)
})

linux('embed --out under a limit of file sizes fails, and leaves no part of a file', async t => {
  const file = fresh('npy')
  await write(file, 'old')
  const texts = Array.from({ length: 40 }, (_, i) => `text ${i}`)
  const { code, stderr } = await cli(
    ['embed', '--text', ...texts, '--out', file],
    'ulimit -f 8; exec "$0" "$@"',
  ).ended
  t.is(code, 2)
  t.true(stderr.includes(`${file}: can't be written`), stderr)
  t.is(await readFile(file, 'utf8'), 'old')
  t.deepEqual(beside(file), [])
})

linux('embed --out /dev/stdout writes the same bytes as a file', async t => {
  const file = fresh('npy')
  const args = ['embed', exampleImages[0]!, '--out']
  t.is((await cli([...args, file]).ended).code, 0)
  const { code, stdout } = await cli([...args, '/dev/stdout']).ended
  t.is(code, 0)
  t.deepEqual(stdout, readFileSync(file))
})

unix(
  'embed --out stopped by Ctrl-C leaves the old file, no part of the new one, and exits with 130',
  async t => {
    const file = fresh('npy')
    await write(file, 'old')
    const many = Array.from({ length: 4000 }, (_, i) => exampleImages[i % exampleImages.length]!)
    const { child, ended } = cli(['embed', ...many, '--out', file])
    while (beside(file).length === 0) await new Promise(resolve => setTimeout(resolve, 10))
    child.kill('SIGINT')
    const { code } = await ended
    t.is(code, 130)
    t.is(await readFile(file, 'utf8'), 'old')
    t.deepEqual(beside(file), [])
  },
)

test('an error of several lines is printed in several lines, with terminal control sequences escaped', t => {
  const error = new ClipError('ERR_CLIP_BACKEND', 'No native addon:\n  tried\u001b[2J here\n  and there')
  t.is(errorLine(error), 'No native addon:\n  tried\\u001b[2J here\n  and there')
})
