/**
 * Limits the images of a model that are decoded but not yet encoded to 2 x threads images and 128 MB of pixels (a larger
 * image is admitted when it is alone). Requests are served in their order.
 *
 * A permit covers an image from before its decoding until the native job that reads its pixels has settled:
 *
 *   const permit = await gate.enter(bytes, signal)
 *   try { const image = await gate.decode(permit, image, signal); await native.encodeImage(job, [image], ...) } finally { permit.leave() }
 *
 * windows.ts does this: it returns windows of decoded images whose `release()` releases their permits. To avoid deadlocks, no
 * code may wait for a permit while it holds one that only a later permit would free: after its first permit, a window takes
 * more only with {@link DecodeGate.tryEnter}.
 */

import { onAbort, type TimeLimit, untilAborted } from '../base/abort.js'

/** A counting semaphore. The holder of a place must not wait for anything that another holder would have to free. */
export class Semaphore {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(places: number) {
    this.#free = places
  }

  /** Waits for a place; the returned function releases it, once. Rejects with `signal.reason` without keeping a place. */
  async enter(signal?: AbortSignal): Promise<() => void> {
    signal?.throwIfAborted()
    if (this.#free > 0) this.#free--
    else await this.#turn(signal)
    let inside = true
    return () => {
      if (!inside) return
      inside = false
      const next = this.#waiting.shift()
      if (next) next()
      else this.#free++
    }
  }

  #turn(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const deaf = onAbort(signal, () => {
        this.#waiting.splice(this.#waiting.indexOf(admit), 1)
        reject(signal?.reason)
      })
      const admit = () => {
        deaf()
        resolve()
      }
      this.#waiting.push(admit)
    })
  }
}

/** Decoded pixels in flight, in bytes. */
export const DECODED_BYTES_IN_FLIGHT = 128 * 1024 * 1024

export interface Permit {
  /** Releases the place and the bytes. May be called more than once. */
  leave(): void
  /**
   * For work that no call waits for any more: releases the place now, and the bytes when the work has ended, or after `ms` at
   * the latest. `leave` does nothing then.
   */
  abandon(work: Promise<unknown>, ms: number): void
}

/** An image that is not decoded yet. */
export interface Decodable<T> {
  decode(signal?: AbortSignal): Promise<T>
  limit: TimeLimit
  /** The decoder belongs to the caller: it may never end, and its memory is no longer counted once no call waits for it. */
  foreign?: boolean
}

interface Waiter {
  bytes: number
  admit(permit: Permit): void
}

export class DecodeGate {
  readonly images: number
  readonly bytes: number
  /** At most `threads` images are decoded at a time, to leave processor time for everything else. */
  readonly decoding: Semaphore
  /**
   * Held from before a file is read until there is room to decode it, so that a thousand waiting calls do not keep a thousand
   * files in memory. Streams do not take part, because a sender may stop sending.
   */
  readonly opening: Semaphore
  #usedImages = 0
  #usedBytes = 0
  #waiting: Waiter[] = []

  constructor(threads: number, bytes = DECODED_BYTES_IN_FLIGHT) {
    this.images = 2 * Math.max(1, threads)
    this.bytes = bytes
    this.decoding = new Semaphore(Math.max(1, threads))
    this.opening = new Semaphore(this.images)
  }

  /** The number of admitted images, their bytes, and the number of waiting images; for tests. */
  get load(): { images: number; bytes: number; waiting: number } {
    return { images: this.#usedImages, bytes: this.#usedBytes, waiting: this.#waiting.length }
  }

  /** Waits for a place. `bytes` is the size of the decoded pixels. Rejects with `signal.reason`, without keeping a place. */
  enter(bytes: number, signal?: AbortSignal): Promise<Permit> {
    if (signal?.aborted) return Promise.reject(signal.reason)
    const now = this.tryEnter(bytes)
    if (now) return Promise.resolve(now)
    return new Promise((resolve, reject) => {
      const deaf = onAbort(signal, () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        reject(signal?.reason)
        this.#admit() // a small image may have been waiting behind a large one
      })
      const waiter: Waiter = {
        bytes,
        admit: permit => {
          deaf()
          resolve(permit)
        },
      }
      this.#waiting.push(waiter)
    })
  }

  /** Takes a place immediately, or returns undefined if there is no room or others are waiting. */
  tryEnter(bytes: number): Permit | undefined {
    return this.#waiting.length === 0 && this.#fits(bytes) ? this.#take(bytes) : undefined
  }

  #fits(bytes: number): boolean {
    if (this.#usedImages === 0 && this.#usedBytes === 0) return true // an image that is alone may be of any size
    return this.#usedImages < this.images && this.#usedBytes + bytes <= this.bytes
  }

  #take(bytes: number): Permit {
    this.#usedImages++
    this.#usedBytes += bytes
    let inside = true
    const free = (images: number, freed: number) => {
      this.#usedImages -= images
      this.#usedBytes -= freed
      this.#admit()
    }
    return {
      leave() {
        if (!inside) return
        inside = false
        free(1, bytes)
      },
      abandon(work, ms) {
        if (!inside) return
        inside = false
        free(1, 0)
        let held = true
        const end = () => {
          clearTimeout(timer)
          if (held) free(0, bytes)
          held = false
        }
        const timer = setTimeout(end, ms)
        timer.unref()
        work.then(end, end)
      },
    }
  }

  /**
   * Decodes an image within its time limit. On an abort or at the time limit, it rejects at once and the place is free for
   * others, although the decoder may still be running.
   */
  async decode<T>(permit: Permit, image: Decodable<T>, signal?: AbortSignal): Promise<T> {
    const leave = await this.decoding.enter(signal)
    let work: Promise<T> | undefined
    let ended = false
    try {
      work = image.decode(signal)
      work.then(
        () => {
          ended = true
        },
        () => {
          ended = true
        },
      )
      return await untilAborted(work, signal, image.limit)
    } catch (error) {
      if (work && !ended) permit.abandon(work, image.foreign ? 0 : image.limit.ms)
      throw error
    } finally {
      leave()
    }
  }

  #admit(): void {
    while (this.#waiting.length > 0 && this.#fits(this.#waiting[0].bytes)) {
      const waiter = this.#waiting.shift() as Waiter
      waiter.admit(this.#take(waiter.bytes))
    }
  }
}
