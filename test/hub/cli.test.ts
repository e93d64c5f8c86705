import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import { availableModels, type ModelInfo, modelInfo } from '../../lib/base/known-models.js'
import type { Cached } from '../../lib/hub/index.js'
import { answerHub, bytes, commit, type HubFile, sandbox, serve, tinyRepo } from './server.js'

const id = 'someone/tiny-clip'

interface Outcome {
  exit: number | null
  stdout: string
  stderr: string
}

function cli(
  args: string[],
  env: NodeJS.ProcessEnv,
  onStderr = (_: string, _kill: () => void) => {},
): Promise<Outcome> {
  const script = join(dirname(fileURLToPath(import.meta.url)), 'cli-child.js')
  const { PATH, SystemRoot, TMPDIR } = process.env
  const child = spawn(process.execPath, [script, ...args], {
    env: { PATH, SystemRoot, TMPDIR, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const outcome = { stdout: '', stderr: '' }
  child.stdout.on('data', piece => {
    outcome.stdout += piece
  })
  child.stderr.on('data', piece => {
    outcome.stderr += piece
    onStderr(outcome.stderr, () => child.kill('SIGINT'))
  })
  return new Promise(done => child.on('close', exit => done({ exit, ...outcome })))
}

const hub = (t: ExecutionContext, files: Record<string, HubFile>) =>
  serve(t, (request, response) => {
    if (!answerHub(request, response, id, files)) response.writeHead(404).end()
  })

test('models lists OpenAI’s nine first, and what is on this machine', async t => {
  const { env, home } = sandbox()
  const file = join(home, '.cache', 'clip', 'ViT-B-32.pt')
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, '')
  truncateSync(file, modelInfo('ViT-B/32').bytes)
  const human = await cli(['models'], env)
  t.is(human.exit, 0)
  const lines = human.stdout.split('\n')
  t.deepEqual(
    lines.slice(1, 10).map(line => line.split(' ')[0]),
    availableModels(),
  )
  t.regex(lines[6], /^ViT-B\/32 +MIT +354 MB +224 +~.*ViT-B-32\.pt$/)
  t.regex(lines[1], /^RN50 +MIT +256 MB +224$/)
  const machine = JSON.parse((await cli(['models', '--json'], env)).stdout) as (ModelInfo & {
    cached: Cached | null
  })[]
  t.deepEqual(machine.find(({ name }) => name === 'ViT-B/32')?.cached, {
    path: file,
    place: 'openai',
    bytes: modelInfo('ViT-B/32').bytes!,
  })
  t.is(machine[0].cached, null)
})

test('download prints the path to stdout and progress to stderr, and then models lists it', async t => {
  const server = await hub(t, tinyRepo())
  const { env, cache } = sandbox({ HF_ENDPOINT: server.url })
  const folder = join(cache, 'hub', 'someone--tiny-clip', 'snapshots', commit)
  const first = await cli(['download', id], env)
  t.deepEqual([first.exit, first.stdout], [0, `${folder}\n`])
  t.regex(first.stderr, /someone\/tiny-clip: downloading model\.safetensors \(200 kB\)/)
  const before = server.requests.length
  const second = await cli(['download', '--json', id], env)
  t.deepEqual([second.exit, second.stderr], [0, ''])
  const [{ bytes: size, ...rest }] = JSON.parse(second.stdout)
  t.deepEqual(rest, { name: id, path: folder })
  t.true(size > 200_000)
  t.is(server.requests.length, before)
  t.regex((await cli(['models'], env)).stdout, /someone\/tiny-clip +\?/)
})

test('download on a terminal shows a bar per file up to 100 % and restores the cursor', async t => {
  const server = await hub(t, tinyRepo())
  const { env } = sandbox({ HF_ENDPOINT: server.url, TEST_TERMINAL: '1' })
  const { exit, stderr } = await cli(['download', id], env)
  t.is(exit, 0)
  t.regex(stderr, /model\.safetensors \[=+\] 100% \| 200 kB of 200 kB \| .*\/s/)
  t.regex(stderr, /config\.json \[/)
  t.false(stderr.includes('downloading'), 'no lines for a log')
  const shown = stderr.lastIndexOf('\u001b[?25h')
  t.true(shown > stderr.lastIndexOf('\u001b[?25l'), 'the cursor is shown again')
})

test('download accepts --quiet and --cache-dir, and reports failures', async t => {
  const server = await hub(t, tinyRepo())
  const { env, home } = sandbox({ HF_ENDPOINT: server.url })
  const other = join(home, 'other')
  const quiet = await cli(['download', '--quiet', '--cache-dir', other, id], env)
  t.deepEqual([quiet.exit, quiet.stderr], [0, ''])
  t.true(quiet.stdout.startsWith(other))
  const unknown = await cli(['download', 'ViT-B/23'], env)
  t.is(unknown.exit, 1)
  t.regex(unknown.stderr, /ERR_CLIP_CONFIG.*Did you mean ViT-B\/32/)
  const offline = await cli(['download', '--offline', 'RN50'], env)
  t.is(offline.exit, 1)
  t.regex(offline.stderr, /ERR_CLIP_OFFLINE/)
})

const noSignals = process.platform === 'win32'
;(noSignals ? test.skip : test)('Ctrl-C: exit code 130, and the downloaded part is kept', async t => {
  const files = tinyRepo(bytes(400_000))
  files['model.safetensors'].send = { hangAfter: 150_000 }
  const server = await hub(t, files)
  const { env, cache } = sandbox({ HF_ENDPOINT: server.url })
  const { exit, stderr } = await cli(['download', id], env, (text, kill) => {
    if (text.includes('model.safetensors') && !text.includes('Stopped')) kill()
  })
  t.is(exit, 130)
  t.regex(stderr, /Run the same command to continue the download/)
  const repo = join(cache, 'hub', 'someone--tiny-clip')
  t.true(existsSync(join(repo, 'snapshots', commit, 'model.safetensors.part')))
  t.false(existsSync(join(repo, 'model.lock')))
})
