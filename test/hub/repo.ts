/** A hub with one repository, folders to look into, and processes of their own. */

import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import type { DownloadProgress, HubOptions } from '../../lib/hub/index.js'
import { answerHub, type HubFile, serve, type TestServer } from './server.js'

export const id = 'someone/tiny-clip'

/** A hub with one repository. */
export const hub = (
  t: ExecutionContext,
  files: Record<string, HubFile>,
  override?: object,
): Promise<TestServer> =>
  serve(t, (request, response) => {
    if (!answerHub(request, response, id, files, override)) response.writeHead(404).end()
  })

export const fast: HubOptions = { retryDelay: 1, retries: 2, idleTimeout: 10_000 }

export function write(file: string, content: string | Buffer) {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, content)
}

/** Every file below a folder, with slashes. */
export const tree = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => !entry.isDirectory())
    .map(entry =>
      join(entry.parentPath, entry.name)
        .slice(folder.length + 1)
        .replaceAll('\\', '/'),
    )
    .sort()

export interface Line {
  path?: string
  code?: string
  message?: string
  progress?: DownloadProgress
}

/** A process of its own that wants the model. */
export function child(
  t: ExecutionContext,
  name: string,
  options: HubOptions,
  env: NodeJS.ProcessEnv,
  onLine = (_: Line) => {},
) {
  const script = join(dirname(fileURLToPath(import.meta.url)), 'child.js')
  const { PATH, SystemRoot, TMPDIR } = process.env
  const started = spawn(process.execPath, [script, name, JSON.stringify(options)], {
    env: { PATH, SystemRoot, TMPDIR, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => started.kill('SIGKILL'))
  const lines: Line[] = []
  createInterface({ input: started.stdout }).on('line', text => {
    const line = JSON.parse(text) as Line
    lines.push(line)
    onLine(line)
  })
  const ended = new Promise<{ exit: number | null; last: Line | undefined; lines: Line[] }>(done =>
    started.on('close', exit => done({ exit, last: lines.at(-1), lines })),
  )
  return { kill: () => started.kill('SIGKILL'), ended }
}
