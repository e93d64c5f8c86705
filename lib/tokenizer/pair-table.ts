/** (left id, right id) -> (rank, id of the merged piece): open addressing in typed arrays, no object per entry. */
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

  set(left: number, right: number, rank: number, merged: number): void {
    const slot = this.#slot(left, right)
    this.#left[slot] = left
    this.#right[slot] = right
    this.#rank[slot] = rank
    this.#merged[slot] = merged
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

  #slot(left: number, right: number): number {
    let slot = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)) >>> 0
    slot = (slot ^ (slot >>> 15)) & this.#mask
    while (this.#left[slot]! >= 0 && (this.#left[slot] !== left || this.#right[slot] !== right))
      slot = (slot + 1) & this.#mask
    return slot
  }
}
