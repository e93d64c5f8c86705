/** Lists and sets of millions of numbers that grow without being copied, because copying would block the event loop. */

const bits = 14
const size = 1 << bits

/** A list of numbers with 8 or 4 bytes each. */
export class Numbers {
  length = 0
  readonly #chunks: (Float64Array | Uint32Array)[] = []

  constructor(private readonly kind: Float64ArrayConstructor | Uint32ArrayConstructor) {}

  at(i: number): number {
    return this.#chunks[i >>> bits]![i & (size - 1)]!
  }

  push(value: number): void {
    if ((this.length & (size - 1)) === 0) this.#chunks.push(new this.kind(size))
    this.#chunks[this.length >>> bits]![this.length & (size - 1)] = value
    this.length++
  }
}

/** A set of rows with one bit each. */
export class Rows {
  size = 0
  readonly #chunks: (Uint8Array | undefined)[] = []

  has(row: number): boolean {
    return ((this.#chunks[row >>> bits]?.[(row & (size - 1)) >>> 3] ?? 0) & (1 << (row & 7))) !== 0
  }

  add(row: number): void {
    if (this.has(row)) return
    this.#chunks[row >>> bits] ??= new Uint8Array(size >>> 3)
    const chunk = this.#chunks[row >>> bits]!
    chunk[(row & (size - 1)) >>> 3]! |= 1 << (row & 7)
    this.size++
  }
}
