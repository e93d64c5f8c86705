/**
 * Processors that lack what a backend is compiled for, emulated by qemu-user: a backend that does not run there is named
 * with its reason, and nothing of it is executed. Skipped where there is no qemu-x86_64.
 */

import { execFile, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { packageRoot } from '../lib/base/package.js'
import { lib } from './helpers/child.js'
import { lackingEntries } from './helpers/entries-test.js'
import { nightly } from './helpers/nightly.js'
import { patience } from './helpers/patience.js'

interface Seen {
  devices: {
    name: string
    available: boolean
    backends: { name: string; available: boolean; reason?: string }[]
  }[]
  best: string
  peaks: number[]
  doctor?: { code: number; active: string; ok: boolean; checks: { backend: string; ok: boolean }[] }
}

const script = `
const [{ devices, load }, { binding }, { doctor }] = await Promise.all([
  import('${lib('index')}'), import('${lib('native/addon')}'), import('${lib('cli/doctor')}')])
const listed = devices()
const clip = await load(undefined, { threads: 1 })
const labels = ['an anchor', 'a bicycle', 'a pizza']
const classifier = await clip.classifier(labels)
const [best] = await classifier.classify(${JSON.stringify(join(packageRoot, 'models/icon-clip/examples/pizza.png'))})
const peaks = []
for (const dtype of ['float32', 'bfloat16', 'int8']) peaks.push(await binding().measure.peak({ dtype }))
console.log(JSON.stringify({ devices: listed, best: best.label, peaks }))
if (process.env.CLIP_TEST_DOCTOR) console.log(await doctor({ json: true }))
`

const qemu =
  process.platform === 'linux' &&
  process.arch === 'x64' &&
  spawnSync('qemu-x86_64', ['--version']).status === 0
const without =
  lackingEntries ?? (qemu ? undefined : 'qemu-x86_64 (package qemu-user) and an x64 Linux are needed')

/** Milliseconds that a case may take on an emulated processor: `doctor` runs every kernel on every backend. */
const limit = (doctor: boolean) => patience * (doctor ? 3_600_000 : 240_000)

async function on(cpu: string, doctor: boolean): Promise<Seen> {
  const { stdout } = await promisify(execFile)(
    'qemu-x86_64',
    ['-cpu', cpu, process.execPath, '--input-type=module', '-e', script],
    {
      timeout: limit(doctor),
      maxBuffer: 1 << 24,
      env: { ...process.env, CLIP_TEST_DOCTOR: doctor ? '1' : '' },
    },
  )
  const [seen, diagnosis, code] = stdout.trim().split('\n')
  return {
    ...JSON.parse(seen),
    ...(doctor ? { doctor: { ...JSON.parse(diagnosis), code: Number(code) } } : {}),
  }
}

const cases: { cpu: string; lacks: string; runs: 'reference' | 'avx2' }[] = [
  { cpu: 'Nehalem', lacks: 'AVX', runs: 'reference' },
  { cpu: 'SandyBridge', lacks: 'AVX2', runs: 'reference' },
  { cpu: 'Haswell,-fma', lacks: 'FMA', runs: 'reference' },
  { cpu: 'Haswell,-f16c', lacks: 'F16C', runs: 'reference' },
  { cpu: 'Haswell', lacks: 'AVX-512', runs: 'avx2' },
]

async function sees(t: ExecutionContext, one: (typeof cases)[number], withDoctor: boolean): Promise<void> {
  t.timeout(limit(withDoctor))
  const { devices, best, peaks, doctor } = await on(one.cpu, withDoctor)
  const backends = devices.flatMap(device => device.backends).filter(({ name }) => name !== 'cuda')
  const running = one.runs === 'avx2' ? ['avx2', 'reference'] : ['reference']
  t.deepEqual(
    backends.filter(b => b.available).map(b => b.name),
    running,
  )
  for (const { name, available, reason } of backends)
    if (!available) t.regex(reason!, /this CPU or its operating system lacks AVX/, name)
  t.is(best, 'a pizza')
  t.is(peaks[0] > 0, one.runs === 'avx2')
  if (!withDoctor) return
  t.is(doctor?.code, 0)
  t.is(doctor?.active, one.runs)
  t.deepEqual(
    doctor?.checks.map(({ backend, ok }) => [backend, ok]),
    running.map(name => [name, true]),
  )
}

for (const one of cases) {
  const title = `a processor without ${one.lacks} (${one.cpu})`
  if (without) {
    test.skip(`${title}: ${without}`, () => {})
    continue
  }
  const first = one === cases[0]
  if (first) test(`devices() and a classification work on ${title}`, t => sees(t, one, false))
  nightly(`devices(), doctor and a classification work on ${title}`, t => sees(t, one, true))
}
