import type { Dtype } from './base/dtypes.js'
import { binding } from './native/addon.js'

/** One implementation of a device, and whether this machine can run it. */
export interface BackendInfo {
  /** As in `CLIP_NATIVE_BACKEND` and `clip.info.backend`: `avx512`. */
  name: string
  /** Whether this machine runs it. */
  available: boolean
  /** Why not. */
  reason?: string
  /** What it computes in here. */
  dtypes: Dtype[]
}

/** An NVIDIA GPU of this machine. */
export interface GpuInfo {
  /** As the driver counts; `load({ device: 'cuda' })` takes the first that is available. */
  index: number
  /** As the driver calls it: 'NVIDIA H100 80GB HBM3'. */
  name: string
  /** Compute capability: '9.0'. */
  capability: string
  /** Bytes in all. */
  memory: number
  /** Whether a model can be loaded on it. */
  available: boolean
  /** Why not. */
  reason?: string
}

/** A device, and what it can do on this machine. */
export interface DeviceInfo {
  /** What `load({ device })` takes. */
  name: 'cpu' | 'cuda' | 'reference'
  /** Whether one of its implementations runs here. */
  available: boolean
  /** Why not. */
  reason?: string
  /** What `load({ dtype })` takes on this device of this machine. */
  dtypes: Dtype[]
  /** The implementations behind it, the preferred one first. */
  backends: BackendInfo[]
  /** Of 'cuda' only: every GPU that the driver lists, none without a driver. */
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
 * Where a model can run on this machine, and why not elsewhere. Where NVIDIA's driver is installed the first call opens
 * it, which can take some tenths of a second. Throws ERR_CLIP_BACKEND without a native addon.
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
