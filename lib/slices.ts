import { setImmediate } from 'node:timers/promises'

/**
 * Keeps long work on the JavaScript thread polite: `if (slices.due()) await slices.pause(signal)` inside a loop gives
 * the event loop a turn after every half millisecond of work.
 */
export class Slices {
  #end = performance.now() + 0.5

  due(): boolean {
    return performance.now() >= this.#end
  }

  /** Lets other events run. Throws the signal's reason when it was aborted meanwhile. */
  async pause(signal?: AbortSignal): Promise<void> {
    await setImmediate()
    signal?.throwIfAborted()
    this.#end = performance.now() + 0.5
  }
}

/** target.set(source, at) in pieces of 256 KiB. */
export async function copySlices(target: Float32Array, source: Float32Array, at: number): Promise<void> {
  const piece = 65536
  const slices = new Slices()
  for (let i = 0; i < source.length; i += piece) {
    target.set(source.subarray(i, Math.min(i + piece, source.length)), at + i)
    if (slices.due()) await slices.pause()
  }
}
