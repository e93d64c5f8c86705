import { binding, type Dtype } from './binding.js'

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
}

/** Where a model can run on this machine, and why not elsewhere. Throws ERR_CLIP_BACKEND without a native addon. */
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
      backends.map(b => `${b.name}: ${b.reason}`).join('; ') ||
      (name === 'cuda'
        ? 'this build has no CUDA backend'
        : `this build has no ${name} backend for ${process.arch}`)
    return {
      name,
      available: usable.length > 0,
      ...(usable.length > 0 ? {} : { reason: why }),
      dtypes: [...new Set(usable.flatMap(b => b.dtypes))],
      backends,
    }
  })
}
