/** The BPE merge loop: merges all occurrences of the pair with the lowest rank, from left to right, until no pair has a rank. */

import type { Steps } from '../base/slices.js'
import { longList } from './long-list.js'
import type { PairTable } from './pair-table.js'

/** Up to this many symbols a plain scan per merge is faster than a heap. */
const shortWord = 48
/** Heap operations per step, which take some tens of microseconds. */
const perStep = 256

/** Merges `symbols` in place and returns how many are left. Quadratic: for short words only. */
export function mergeShort(symbols: Int32Array | number[], count: number, pairs: PairTable): number {
  while (count > 1) {
    let best = -1
    let bestRank = Number.POSITIVE_INFINITY
    for (let i = 0; i + 1 < count; i++) {
      const handle = pairs.find(symbols[i]!, symbols[i + 1]!)
      if (handle >= 0 && pairs.rank(handle) < bestRank) {
        best = i
        bestRank = pairs.rank(handle)
      }
    }
    if (best < 0) return count
    const left = symbols[best]!
    const right = symbols[best + 1]!
    const merged = pairs.merged(pairs.find(left, right))
    let to = best
    for (let from = best; from < count; to++) {
      if (from + 1 < count && symbols[from] === left && symbols[from + 1] === right) {
        symbols[to] = merged
        from += 2
      } else {
        symbols[to] = symbols[from]!
        from++
      }
    }
    count = to
  }
  return count
}

/** A binary heap of (rank, position), least first, of at most `most` entries. */
class Heap {
  readonly #rank: Int32Array
  readonly #position: Int32Array
  #size = 0

  constructor(most: number) {
    this.#rank = longList(most)
    this.#position = longList(most)
  }

  get size(): number {
    return this.#size
  }

  get topRank(): number {
    return this.#rank[0]!
  }

  push(rank: number, position: number): void {
    let child = this.#size++
    this.#rank[child] = rank
    this.#position[child] = position
    while (child > 0) {
      const parent = (child - 1) >> 1
      if (!this.#less(child, parent)) break
      this.#swap(child, parent)
      child = parent
    }
  }

  /** Removes the least entry and returns its position. */
  pop(): number {
    const top = this.#position[0]!
    const last = --this.#size
    this.#swap(0, last)
    let parent = 0
    for (;;) {
      let least = parent
      const left = 2 * parent + 1
      if (left < last && this.#less(left, least)) least = left
      if (left + 1 < last && this.#less(left + 1, least)) least = left + 1
      if (least === parent) return top
      this.#swap(parent, least)
      parent = least
    }
  }

  #less(a: number, b: number): boolean {
    return (
      this.#rank[a]! < this.#rank[b]! ||
      (this.#rank[a] === this.#rank[b] && this.#position[a]! < this.#position[b]!)
    )
  }

  #swap(a: number, b: number): void {
    const rank = this.#rank[a]!
    const position = this.#position[a]!
    this.#rank[a] = this.#rank[b]!
    this.#position[a] = this.#position[b]!
    this.#rank[b] = rank
    this.#position[b] = position
  }
}

/** The same result in O(n log n) for words of any length, with a linked list and a heap of the pairs that have a rank. */
function* mergeLong(symbols: Int32Array, pairs: PairTable): Steps<number> {
  const count = symbols.length
  const next = longList(count)
  const previous = longList(count)
  // A merge removes at least one entry, and adds at most two.
  const heap = new Heap(2 * count)
  const offer = (left: number): void => {
    const right = next[left]!
    if (right >= count) return
    const handle = pairs.find(symbols[left]!, symbols[right]!)
    if (handle >= 0) heap.push(pairs.rank(handle), left)
  }
  for (let i = 0; i < count; i++) {
    next[i] = i + 1
    previous[i] = i - 1
    if (i % 4096 === 4095) yield
  }
  for (let i = 0; i + 1 < count; i++) {
    offer(i)
    if (i % perStep === 0) yield
  }
  // New pairs are added at the end of a pass, as in the original, where one pass replaces all occurrences of a pair.
  const made = longList(2 * count)
  let work = 0
  while (heap.size > 0) {
    const rank = heap.topRank
    let pairsMade = 0
    while (heap.size > 0 && heap.topRank === rank) {
      if (++work % perStep === 0) yield
      const left = heap.pop()
      const right = next[left]!
      if (symbols[left]! < 0 || right >= count) continue
      const handle = pairs.find(symbols[left]!, symbols[right]!)
      if (handle < 0 || pairs.rank(handle) !== rank) continue
      symbols[left] = pairs.merged(handle)
      symbols[right] = -1
      next[left] = next[right]!
      if (next[left]! < count) previous[next[left]!] = left
      made[pairsMade++] = left
      if (previous[left]! >= 0) made[pairsMade++] = previous[left]!
    }
    for (let i = 0; i < pairsMade; i++) {
      if (symbols[made[i]!]! >= 0) offer(made[i]!)
      if (++work % perStep === 0) yield
    }
  }
  let left = 0
  for (let i = 0; i < count; i = next[i]!) {
    symbols[left++] = symbols[i]!
    if (left % 4096 === 0) yield
  }
  return left
}

/** Merges `symbols` in place and returns how many are left. */
export function* merge(symbols: Int32Array, pairs: PairTable): Steps<number> {
  if (symbols.length <= shortWord) return mergeShort(symbols, symbols.length, pairs)
  return yield* mergeLong(symbols, pairs)
}
