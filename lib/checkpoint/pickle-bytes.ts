/** The bytes of a pickle, read from first to last. */

import { badCheckpoint } from './errors.js'

export const LONGEST_GLOBAL = 1000

export class PickleBytes {
  protected constructor(
    protected readonly data: Buffer,
    private readonly file: string,
    protected at: number,
  ) {}

  protected fail(message: string, field = 'data.pkl') {
    return badCheckpoint(this.file, field, `pickle: ${message} (at byte ${this.at})`)
  }

  protected take(bytes: number): number {
    const at = this.at
    if (bytes > this.data.length - at) throw this.fail('ends in the middle')
    this.at += bytes
    return at
  }
  protected u8(): number {
    return this.data[this.take(1)]
  }
  protected text(bytes: number): string {
    const at = this.take(bytes)
    return this.data.toString('utf8', at, at + bytes)
  }
  protected u64(): number {
    const value = this.data.readBigUInt64LE(this.take(8))
    return value > BigInt(this.data.length) ? this.data.length + 1 : Number(value)
  }
  protected line(): string {
    const end = this.data.indexOf(10, this.at)
    if (end < 0 || end - this.at > LONGEST_GLOBAL) throw this.fail('a name without end')
    const line = this.text(end - this.at)
    ++this.at
    return line
  }
}
