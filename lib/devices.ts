import type { Dtype } from './base/dtypes.js'
import { binding } from './native/addon.js'

/** One implementation of a device, and whether this machine can run it. */
export interface BackendInfo {
  /** Its name, as in `CLIP_NATIVE_BACKEND` and `clip.info.backend`: `avx512`. */
  name: string
  /** Whether it runs on this machine. */
  available: boolean
  /** Why not. */
  reason?: string
  /** Dtypes that it supports on this machine. */
  dtypes: Dtype[]
}

/** An NVIDIA GPU of this machine. */
export interface GpuInfo {
  /** Its index in the driver; `load(source, { device: 'cuda' })` uses the first that is available. */
  index: number
  /** Its name in the driver: 'NVIDIA H100 80GB HBM3'. */
  name: string
  /** Compute capability: '9.0'. */
  capability: string
  /** Total memory in bytes. */
  memory: number
  /** Whether a model can be loaded on it. */
  available: boolean
  /** Why not. */
  reason?: string
}

/** A device, and what it supports on this machine. */
export interface DeviceInfo {
  /** Its name in the option `device` of `load`. */
  name: 'cpu' | 'cuda' | 'reference'
  /** Whether one of its implementations runs here. */
  available: boolean
  /** Why not. */
  reason?: string
  /** Dtypes that `load` accepts for this device on this machine. */
  dtypes: Dtype[]
  /** Its implementations, the preferred one first. */
  backends: BackendInfo[]
  /** For 'cuda' only: the GPUs that the driver lists; empty without a driver. */
  gpus?: GpuInfo[]
}

const gpus = (): GpuInfo[] =>
  binding()
    .cuda.devices()
    .map(({ index, name, capability, memory, reason }) => ({
      index,
      name,
      capability: `${Math.floor(capability / 10)}.${capability % 10}`,
      memory,
      available: reason === '',
      ...(reason === '' ? {} : { reason }),
    }))

/**
 * Lists the devices of this package, which of them work on this machine, and why the others do not. If NVIDIA's driver is
 * installed, the first call opens it, which can take some tenths of a second. Throws a ClipError ERR_CLIP_BACKEND if the
 * native addon is missing.
 */
export function devices(): DeviceInfo[] {
  const all = binding().backends()
  return (['cpu', 'cuda', 'reference'] as const).map(name => {
    const backends = all
      .filter(b => b.device === name)
      .map(({ name, available, reason, dtypes }) => ({
        name,
        available,
        ...(available ? {} : { reason }),
        dtypes,
      }))
    const usable = backends.filter(b => b.available)
    const why =
      backends.map(b => (b.name === name ? b.reason : `${b.name}: ${b.reason}`)).join('; ') ||
      (name === 'cuda'
        ? 'this build has no CUDA backend'
        : `this build has no ${name} backend for ${process.arch}`)
    return {
      name,
      available: usable.length > 0,
      ...(usable.length > 0 ? {} : { reason: why }),
      dtypes: [...new Set(usable.flatMap(b => b.dtypes))],
      backends,
      ...(name === 'cuda' ? { gpus: gpus() } : {}),
    }
  })
}
