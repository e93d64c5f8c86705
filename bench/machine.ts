/** Where and when something was measured; printed with every figure. */

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { cpus, loadavg, totalmem } from 'node:os'
import { join } from 'node:path'
import { packageRoot, version } from '../lib/base/package.js'
import { binding } from '../lib/native/addon.js'

export interface Machine {
  date: string
  commit: string
  version: string
  cpu: string
  cores: number
  memoryGB: number
  platform: string
  node: string
  /** What 'auto' selects: "avx512+vnni+bf16". */
  backend: string
  /** One-minute load average when the run began. */
  load: number
  /** One-minute load average when it ended. */
  loadAfter?: number
}

function commit(): string {
  try {
    const git = (...args: string[]) =>
      execFileSync('git', args, { cwd: packageRoot, stdio: ['ignore', 'pipe', 'ignore'] })
        .toString()
        .trim()
    return (
      git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '--', 'native', 'lib') ? '+' : '')
    )
  } catch {
    return 'unknown'
  }
}

export function machine(): Machine {
  return {
    date: new Date().toISOString(),
    commit: commit(),
    version,
    cpu: cpuName(),
    cores: cpus().length,
    memoryGB: Math.round(totalmem() / 2 ** 30),
    platform: `${process.platform}-${process.arch}`,
    node: process.versions.node,
    backend: binding().active(),
    load: round(loadavg()[0]!),
  }
}

export const loadNow = (): number => round(loadavg()[0]!)

const round = (x: number) => Math.round(100 * x) / 100

/** The model name. Virtual machines hide part of it, so family and model number are added. */
function cpuName(): string {
  const name = cpus()[0]?.model ?? 'unknown'
  if (!existsSync('/proc/cpuinfo')) return name
  const info = readFileSync('/proc/cpuinfo', 'utf8')
  const field = (key: string) => info.match(new RegExp(`^${key}\\s*:\\s*(.*)$`, 'm'))?.[1]
  const [family, model] = [Number(field('cpu family')), Number(field('model'))]
  const core = field('vendor_id') === 'AuthenticAMD' ? zen(family, model) : undefined
  return `${name} (${core ? `${core}, ` : ''}family ${family} model ${model})`
}

/**
 * The name of AMD's core, from CPUID, which a virtual machine passes on even if it hides the product's name.
 */
function zen(family: number, model: number): string | undefined {
  if (family === 26) return 'Zen 5'
  if (family === 25) return (model >= 0x10 && model < 0x20) || model >= 0x60 ? 'Zen 4' : 'Zen 3'
  return undefined
}

export function versionOf(folder: string, name: string): string {
  const file = join(folder, 'node_modules', name, 'package.json')
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).version : 'not installed'
}

export const machineLine = (m: Machine): string =>
  `${m.cpu}, ${m.cores} cores, ${m.memoryGB} GB; Node ${m.node} ${m.platform}; clip-native ${m.version} ${m.commit} on ${m.backend}; ${m.date}; load average ${m.load}${m.loadAfter === undefined ? '' : ` before, ${m.loadAfter} after`}`
