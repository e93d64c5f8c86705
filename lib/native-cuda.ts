/** The part of the native surface that is about the GPU itself. */

/** A GPU, and who compiles for it. */
export interface CudaDevice {
  /** As NVIDIA's driver names it. */
  name: string
  /** Changes with our kernels, the driver and the kind of device. */
  fingerprint: string
  /** What of our kernels runs: machine code ("sm_90"), or "compute_80" compiled by the driver. */
  image: string
  /** Newest CUDA that the driver knows: 13000 is 13.0. */
  driver: number
  /** Compute capability times 10. */
  capability: number
  /** Bytes. */
  memory: number
}

export interface KernelCheck {
  kernel: string
  /** The first number that is off by more than its bound; empty if none is. */
  difference: string
}

/** A kernel on one shape. */
export interface KernelTiming {
  kernel: string
  shape: string
  /** Arithmetic of use of a launch. */
  flops: number
  /** What a launch must read and write, each once. */
  bytes: number
  /** Whether tensor cores do the arithmetic. */
  tensor: boolean
  /** Of a launch out of a graph of several: the fastest of several rounds. */
  microseconds: number
}

/** A GPU that the driver lists. */
export interface CudaListed {
  index: number
  name: string
  /** Compute capability times 10. */
  capability: number
  /** Bytes. */
  memory: number
  /** Why our kernels can't run there; empty if they can. */
  reason: string
}

/** Rejects ERR_CLIP_BACKEND where there is no GPU that runs our kernels, ERR_CLIP_CUDA where one fails. */
export interface NativeCuda {
  /** Every GPU; none where there is no driver. Opens the driver. */
  devices(): CudaListed[]
  /** The device that 'cuda' means here. Loads the kernels: tens of milliseconds. */
  identify(): Promise<CudaDevice>
  /** Runs every kernel once, on small shapes, and compares with reference. Withdrawn by cancelLoad. */
  check(job: number): Promise<KernelCheck[]>
  /**
   * Runs every kernel on shapes of models for about `seconds` each. small: shapes that an emulator gets through.
   * Withdrawn by cancelLoad.
   */
  time(job: number, seconds: number, small: boolean): Promise<KernelTiming[]>
}
