/** What the built addon needs and shows (scripts/check-binary.mjs), and that the check sees a breach. */

import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../lib/base/package.js'

const addon =
  process.env.CLIP_NATIVE_ADDON ??
  (createRequire(import.meta.url)('node-gyp-build') as { path(dir: string): string }).path(packageRoot)

const check = (...args: string[]) => {
  const script = join(packageRoot, 'scripts', 'check-binary.mjs')
  return spawnSync(process.execPath, [script, addon, ...args], { encoding: 'utf8', maxBuffer: 1 << 26 })
}

/** Why this can't be looked at here, or nothing. */
function obstacle(): string | undefined {
  if (process.platform !== 'linux') return `no ELF files on ${process.platform}`
  const { status, stdout } = spawnSync('objdump', ['-t', addon], { encoding: 'utf8', maxBuffer: 1 << 28 })
  if (status !== 0) return 'no objdump'
  return /__[at]san_init/.test(stdout) ? 'a sanitizer build' : undefined
}

const why = obstacle()
const run = why ? test.skip : test

run(
  `the addon loads with GLIBC 2.34, shows Node-API's entries alone and keeps AVX-512 apart${why ? `: ${why}` : ''}`,
  t => {
    const { status, stdout, stderr } = check()
    t.log(stdout.trim())
    t.is(status, 0, stdout + stderr)
    t.is(stdout.split('\n').filter(line => line.startsWith('held: ')).length, process.arch === 'x64' ? 5 : 3)
  },
)

run(`the check of the addon sees a symbol that is too new${why ? `: ${why}` : ''}`, t => {
  const { status, stdout } = check('--glibc', '2.28')
  t.is(status, 1)
  t.regex(stdout, /^broken: GLIBC 2\.28 is enough .*: .*pthread_create of GLIBC 2\.34/m)
})

if (process.arch === 'x64')
  run(`the check of the addon sees AVX-512 in a file that is not for it${why ? `: ${why}` : ''}`, t => {
    const { status, stdout } = check('--avx512', 'avx512.cc,avx512_amx.cc,avx512_bf16.cc,avx512_vnni.cc')
    t.is(status, 1)
    t.regex(stdout, /^broken: AVX-512 only .* of avx2_vl\.cc/m)
  })
