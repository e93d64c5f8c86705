/** Reports the backends of this machine, and checks the results of each against those of PyTorch. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ClipError, printable } from '../base/errors.js'
import { version } from '../base/package.js'
import { embeddedModel } from '../hub/resolve-model.js'
import { type DeviceInfo, devices, type Embeddings, load } from '../index.js'
import { binding } from '../native/addon.js'
import type { NativeBinding } from '../native/surface.js'
import { bold, errorJson, errorLine, green, print, table } from './output.js'

/** Largest allowed difference between a value of a normalized float32 embedding and PyTorch's. */
const tolerance = 1e-5

interface Golden {
  made_with: Record<string, string>
  dim: number
  images: string[]
  texts: string[]
  image: string
  text: string
}

interface Check {
  backend: string
  /** Largest absolute difference of an embedding's value. */
  images?: number
  texts?: number
  error?: string
  ok: boolean
}

function floats(base64: string): Float32Array {
  const bytes = Buffer.from(base64, 'base64')
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(i * 4))
}

/** NaN if a value is NaN, so that no comparison can succeed. */
function largestDifference(ours: Embeddings, golden: Float32Array): number {
  if (ours.data.length !== golden.length) return Number.NaN
  return ours.data.reduce((most, value, i) => {
    const difference = Math.abs(value - golden[i]!)
    return difference > most || Number.isNaN(difference) ? difference : most
  }, 0)
}

/** Runs the embedded model on one backend, whatever backend the environment selects. */
async function check(backend: string, device: 'cpu' | 'reference' | 'cuda', golden: Golden): Promise<Check> {
  const before = process.env.CLIP_NATIVE_BACKEND
  try {
    if (device === 'cpu') process.env.CLIP_NATIVE_BACKEND = backend
    const loading = load(undefined, { device })
    await using clip = await loading.finally(() => {
      if (before === undefined) delete process.env.CLIP_NATIVE_BACKEND
      else process.env.CLIP_NATIVE_BACKEND = before
    })
    if (!clip.info.backend.startsWith(backend))
      throw new ClipError('ERR_CLIP_BACKEND', `${backend} was requested, but ${clip.info.backend} runs`)
    const files = golden.images.map(name => join(embeddedModel, 'examples', name))
    const images = largestDifference(await clip.encodeImage(files), floats(golden.image))
    const texts = largestDifference(await clip.encodeText(golden.texts), floats(golden.text))
    return { backend, images, texts, ok: images <= tolerance && texts <= tolerance }
  } catch (error) {
    return { backend, error: errorLine(error), ok: false }
  }
}

function deviceLines(all: DeviceInfo[]): string {
  const lines: string[] = []
  for (const device of all) {
    const state = device.available ? device.dtypes.join(', ') : `not available: ${device.reason}`
    lines.push(`  ${bold(device.name.padEnd(9))}  ${state}`)
    for (const one of device.backends)
      if (device.backends.length > 1 || one.name !== device.name)
        lines.push(
          `    ${one.name.padEnd(7)}  ${one.available ? one.dtypes.join(', ') : `not available: ${one.reason}`}`,
        )
    for (const gpu of device.gpus ?? [])
      lines.push(
        `    ${gpu.name}: compute capability ${gpu.capability}, ${(gpu.memory / 2 ** 30).toFixed(1)} GiB${gpu.available ? '' : `, not available: ${gpu.reason}`}`,
      )
  }
  return lines.join('\n')
}

const machine = {
  version,
  node: process.versions.node,
  platform: `${process.platform}-${process.arch}`,
}

/** The report if the addon is missing or an environment variable is invalid, so that nothing else can be checked. */
async function diagnose(error: unknown, json?: boolean): Promise<number> {
  const { code, message } = error as Error & { code?: unknown }
  if (typeof code !== 'string' || !code.startsWith('ERR_CLIP_')) throw error
  if (json) await print(JSON.stringify({ ...machine, error: errorJson(error), ok: false }))
  else
    await print(
      `${table([
        ['clip-native', version],
        ['Node', `${machine.node}, ${machine.platform}`],
      ])}\n\n${bold('FAILED')}  ${printable(message)}`,
    )
  return 1
}

/** Exit code: 1 if the addon or an expected backend does not run, or if its results differ by more than 1e-5. */
export async function doctor(options: { json?: boolean }): Promise<number> {
  let native: NativeBinding
  let active: string
  try {
    native = binding()
    active = native.active()
  } catch (error) {
    return diagnose(error, options.json)
  }
  const all = devices()
  const golden = JSON.parse(await readFile(join(embeddedModel, 'golden.json'), 'utf8')) as Golden
  const borrowed = native
    .backends()
    .filter(b => b.borrowed)
    .map(b => `${b.name} borrows ${b.borrowed}`)
  const checks: Check[] = []
  for (const device of all)
    for (const backend of device.backends)
      if (backend.available) checks.push(await check(backend.name, device.name, golden))
  const ok = checks.length > 0 && checks.every(c => c.ok)
  const facts = {
    ...machine,
    active,
    threads: native.defaultThreads(),
  }
  if (options.json) {
    await print(
      JSON.stringify({ ...facts, devices: all, borrowed, tolerance, golden: golden.made_with, checks, ok }),
    )
    return ok ? 0 : 1
  }
  const versions = Object.entries(golden.made_with).map(([name, v]) => `${name} ${v}`)
  await print(
    `${table([
      ['clip-native', version],
      ['Node', `${facts.node}, ${facts.platform}`],
      ["'auto' runs", `${facts.active}, threads: ${facts.threads}`],
      ['borrowed', borrowed.join('; ') || 'nothing: every backend has all its ops'],
    ])}\n\n${bold('Devices')}\n${deviceLines(all)}\n\n${bold('Embedded model against PyTorch')} (${versions.join(', ')})\n  ${golden.images.length} images, ${golden.texts.length} texts, float32; allowed largest difference ${tolerance}`,
  )
  for (const c of checks)
    await print(
      `  ${c.backend.padEnd(9)}  ${c.error ?? `images ${c.images!.toExponential(1)}, texts ${c.texts!.toExponential(1)}`}  ${c.ok ? green('ok') : bold('FAILED')}`,
    )
  return ok ? 0 : 1
}
