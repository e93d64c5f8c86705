/** One file from a test server into a folder of its own, and what must hold afterwards. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { downloadFile, type FileHooks, type RemoteFile } from '../../lib/hub/download.js'
import { openHttp } from '../../lib/hub/http.js'
import { type HubOptions, settings } from '../../lib/hub/options.js'
import { bytes, sandbox, sha256 } from './server.js'

export const content = bytes(300_000)
export const hash = sha256(content)

export interface Fetched {
  target: string
  fetch(options?: HubOptions, remote?: Partial<RemoteFile>, hooks?: FileHooks): Promise<void>
  left(): string[]
}

/** A target in a new folder, and downloads into it that lose no time between retries. */
export function into(url: string, standard: Partial<RemoteFile> = {}, env: NodeJS.ProcessEnv = {}): Fetched {
  const { home } = sandbox()
  const target = join(home, 'model.bin')
  return {
    target,
    left: () => readdirSync(home),
    async fetch(options = {}, remote = {}, hooks = {}) {
      const chosen = settings({ env, retryDelay: 1, retries: 3, idleTimeout: 10_000, ...options })
      const http = openHttp(chosen)
      try {
        await downloadFile(http, { url, ...standard, ...remote }, target, chosen, hooks)
      } finally {
        http.close()
      }
    },
  }
}

export function whole(t: ExecutionContext, to: Fetched, expected = content) {
  t.deepEqual(to.left(), ['model.bin'], 'nothing is left beside the file')
  t.is(sha256(readFileSync(to.target)), sha256(expected))
}
