/** A script in a Node process of its own, for what would take the test process down with it. */

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { packageRoot } from '../../lib/base/package.js'
import { patience } from './patience.js'

/** URL of a compiled module of lib, for use inside scripts: `lib('index')`. */
export function lib(name: string): string {
  const file = join(packageRoot, 'dist/lib', `${name}.js`)
  if (!existsSync(file)) throw new Error(`A script of a test names ${file}, which does not exist`)
  return pathToFileURL(file).href
}

export interface Outcome {
  /** Exit status, or the signal that ended it ('timeout' when that was us). */
  end: number | string
  stdout: string
  stderr: string
}

export function child(
  script: string,
  options: { flags?: string[]; env?: NodeJS.ProcessEnv; seconds?: number } = {},
): Promise<Outcome> {
  const { flags = [], env = {}, seconds = 120 } = options
  const timeout = patience * seconds * 1000
  return new Promise(resolve => {
    execFile(
      process.execPath,
      [...flags, '--input-type=module', '-e', script],
      { env: { ...process.env, ...env }, timeout, killSignal: 'SIGKILL', maxBuffer: 1 << 26 },
      (error, stdout, stderr) => {
        const end = !error ? 0 : error.killed ? 'timeout' : (error.signal ?? Number(error.code))
        resolve({ end, stdout: stdout.trim(), stderr })
      },
    )
  })
}
