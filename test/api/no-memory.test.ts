/** Results that the system gives no memory for. That of native code is tested in test/faults. */

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'

interface Line {
  name: string
  code?: string
  kind?: string
  message?: string
  shape?: number[]
}

// The process limits its own memory with prlimit, which is part of util-linux.
const limits = process.platform === 'linux' && existsSync('/usr/bin/prlimit')
const linuxOnly = limits ? test : test.skip

linuxOnly('a result that there is no memory for rejects with ERR_CLIP_MEMORY and its size', async t => {
  const child = join(import.meta.dirname, 'no-memory-run.js')
  const { stdout } = await promisify(execFile)(process.execPath, [child])
  const lines: Line[] = stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  const last = lines.pop()
  t.is(lines.length, 19)
  for (const { name, code, kind, message } of lines) {
    t.is(code, 'ERR_CLIP_MEMORY', `${name}: ${message}`)
    t.is(kind, 'ClipError')
    // What the linear probe lacks memory for are native code's own numbers.
    if (name !== 'linearProbe') t.regex(message!, /which would be [\dx ]+ values, [\d.]+ (GB|TB):/, name)
  }
  t.deepEqual(last, { name: 'afterwards', shape: [1, 16] }, 'the model goes on working')
})
