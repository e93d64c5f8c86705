/** Maximum number of probes. The longest run in OpenAI's table is 15. */
const mostProbes = 2000

/** Maps (left id, right id) to (rank, id of the merged piece): open addressing in typed arrays, without an object per entry. */
export class PairTable {
  readonly #mask: number
  readonly #left: Int32Array
  readonly #right: Int32Array
  readonly #rank: Int32Array
  readonly #merged: Int32Array

  /** @param count How many pairs will be set at most. */
  constructor(count: number) {
    let slots = 64
    while (slots < count * 2) slots *= 2
    this.#mask = slots - 1
    this.#left = new Int32Array(slots).fill(-1)
    this.#right = new Int32Array(slots)
    this.#rank = new Int32Array(slots)
    this.#merged = new Int32Array(slots)
  }

  /** Returns false if too many pairs collide, which never happens for a trained vocabulary; filling the table could take too long. */
  set(left: number, right: number, rank: number, merged: number): boolean {
    const slot = this.#slot(left, right, mostProbes)
    if (slot < 0) return false
    this.#left[slot] = left
    this.#right[slot] = right
    this.#rank[slot] = rank
    this.#merged[slot] = merged
    return true
  }

  /** A handle for {@link rank} and {@link merged}; -1 when the pair is never merged. */
  find(left: number, right: number): number {
    const slot = this.#slot(left, right)
    return this.#left[slot]! < 0 ? -1 : slot
  }

  rank(handle: number): number {
    return this.#rank[handle]!
  }

  merged(handle: number): number {
    return this.#merged[handle]!
  }

  /** -1 after `probes` slots of other pairs. */
  #slot(left: number, right: number, probes = this.#mask): number {
    let slot = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)) >>> 0
    slot = (slot ^ (slot >>> 15)) & this.#mask
    while (this.#left[slot]! >= 0 && (this.#left[slot] !== left || this.#right[slot] !== right)) {
      if (--probes < 0) return -1
      slot = (slot + 1) & this.#mask
    }
    return slot
  }
}
