/** The common parts of encodeImage and encodeText: their options, and the output, which is filled window by window. */

import { allocate } from '../base/allocate.js'
import type { ClipError } from '../base/errors.js'
import { callback, checkOptions, checkSignal, flag, oneOf } from '../base/options.js'
import { copySlices, Slices } from '../base/slices.js'
import { Embeddings, type EmbeddingsOf } from './embeddings.js'

/**
 * What an encoder returns.
 *
 * - `'embedding'`: points of the joint space, (n, embedDim).
 * - `'pooled'`: the pooled token after the last layer norm and before the projection, (n, width): Hugging Face's
 *   pooler_output.
 * - `'tokens'`: every token after the last layer norm, (n, tokens, width); texts are padded with zero rows to the longest.
 *
 * Only embeddings are points of the joint space, so only they are normalized by default.
 */
export type Output = 'embedding' | 'pooled' | 'tokens'

/** Options that `encodeImage` and `encodeText` share. */
export interface EncodeOptions<O extends Output = Output> {
  /**
   * Scale every row (for 'tokens': every token) to length 1. Default: true for `output: 'embedding'`, false for 'pooled'
   * and 'tokens'. OpenAI's encode_image and encode_text do not normalize: pass false to get their numbers.
   */
  normalize?: boolean
  /** What to return; default 'embedding'. */
  output?: O
  /** 'throw' (default): the first item that fails rejects the call. 'collect': its row is NaN, and `errors[i]` is its error. */
  errors?: 'throw' | 'collect'
  /** Aborts the call, which then rejects with the signal's reason. */
  signal?: AbortSignal
  /** Progress callback: the number of items that are done. */
  onProgress?: (progress: { done: number; total: number }) => void
}

const optionNames = ['normalize', 'output', 'errors', 'signal', 'onProgress']

export interface CheckedEncode<O extends Output> {
  normalize: boolean
  output: O
  collect: boolean
  signal: AbortSignal | undefined
  onProgress: ((progress: { done: number; total: number }) => void) | undefined
}

/** Throws the signal's reason if it is aborted already. */
export function checkEncode<O extends Output>(
  options: EncodeOptions<O> | undefined,
  more: readonly string[] = [],
): CheckedEncode<O> {
  const o = checkOptions(options, [...optionNames, ...more])
  const signal = checkSignal(o.signal)
  const output = oneOf('output', o.output ?? 'embedding', ['embedding', 'pooled', 'tokens']) as O
  return {
    signal,
    normalize: flag('normalize', o.normalize ?? output === 'embedding'),
    output,
    collect: oneOf('errors', o.errors ?? 'throw', ['throw', 'collect']) === 'collect',
    onProgress: callback('onProgress', o.onProgress),
  }
}

/**
 * Assembles the rows of a call from the results of its windows, without memory beyond that of the result. For a call with one
 * window, the array of native code is returned unchanged.
 */
export class Rows<O extends Output> {
  readonly #options: CheckedEncode<O>
  readonly #total: number
  /** Tokens per row; 0 if rows have one dimension. */
  readonly #tokens: number
  readonly #errors: (ClipError | null)[] | undefined
  #data: Float32Array | undefined
  #width: number
  #done = 0

  /** `width`: floats per row (per token with `tokens`), so that a call without any rows has a shape. */
  constructor(options: CheckedEncode<O>, total: number, width: number, tokens = 0) {
    this.#options = options
    this.#total = total
    this.#width = width
    this.#tokens = tokens
    this.#errors = options.collect ? new Array(total).fill(null) : undefined
  }

  fail(row: number, error: ClipError): void {
    if (!this.#errors) throw error
    this.#errors[row] = error
  }

  /**
   * Copies `data`, with a row for each of `rows`, to its place. `tokens` is the number of tokens per row in this window, if
   * smaller.
   */
  async add(rows: readonly number[], data: Float32Array, tokens = this.#tokens): Promise<void> {
    const perRow = data.length / rows.length
    if (rows.length === this.#total && tokens === this.#tokens) {
      this.#data = data
      return
    }
    this.#width = this.#tokens ? perRow / tokens : perRow
    const out = this.#array()
    const outRow = out.length / this.#total
    // Consecutive rows of full length are copied at once.
    for (let i = 0; i < rows.length; ) {
      let end = i + 1
      while (perRow === outRow && end < rows.length && rows[end] === rows[end - 1]! + 1) end++
      await copySlices(out, data.subarray(i * perRow, end * perRow), rows[i]! * outRow)
      i = end
    }
  }

  progress(items: number): void {
    this.#done += items
    this.#options.onProgress?.({ done: this.#done, total: this.#total })
  }

  async finish(): Promise<EmbeddingsOf<O>> {
    const data = this.#array()
    const n = this.#total
    if (this.#errors) {
      const slices = new Slices()
      for (const [i, error] of this.#errors.entries()) {
        if (error) data.fill(Number.NaN, (i * data.length) / n, ((i + 1) * data.length) / n)
        if (slices.due()) await slices.pause(this.#options.signal)
      }
    }
    const perRow = n ? data.length / n : 0
    const shape =
      this.#options.output === 'tokens'
        ? [n, this.#tokens, n && this.#tokens ? perRow / this.#tokens : this.#width]
        : [n, n ? perRow : this.#width]
    return new Embeddings(data, shape as never, this.#errors) as never
  }

  #array(): Float32Array {
    this.#data ??= this.#tokens
      ? allocate(Float32Array, 'the tokens', this.#total, this.#tokens, this.#width)
      : allocate(Float32Array, 'the rows', this.#total, this.#width)
    return this.#data
  }
}
