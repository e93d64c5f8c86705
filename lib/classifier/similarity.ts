/** Similarity of images and texts: cosineSoftmax over two sets of embeddings. */

import { allocate } from '../base/allocate.js'
import { checkOptions, checkSignal, oneOf } from '../base/options.js'
import { Slices } from '../base/slices.js'
import { checkEmbeddings, Embeddings, isEmbeddings } from '../encode/embeddings.js'
import { checkCallSettings, type DecodeOption, encodeImage } from '../encode/image.js'
import { kernelBackend, type Loaded, scoresOf } from '../encode/loaded-model.js'
import { encodeText, type TokenizeOptions, tokenizeOptionNames } from '../encode/text.js'
import type { ImageInput } from '../image/input.js'
import { binding, fromNative } from '../native/addon.js'
import type { ScoreKind } from '../native/surface.js'

/** Options of `clip.similarity`. */
export interface SimilarityOptions extends TokenizeOptions, DecodeOption {
  /** Kind of score; default 'probability', which the model defines (`clip.info.scoring`). */
  as?: ScoreKind
  /**
   * Dimension over which probabilities sum to 1: the texts of each image (default), or the images of each text. It has no
   * effect for models whose `scoring` is 'sigmoid', because every pair then has an independent probability.
   */
  over?: 'texts' | 'images'
  /** Aborts the call, which then rejects with the signal's reason. */
  signal?: AbortSignal
}

/** Transposes (rows, cols) to (cols, rows) in slices: square by square, because one side always strides over whole rows. */
async function transpose(data: Float32Array, rows: number, cols: number, signal?: AbortSignal) {
  const side = 32
  const out = allocate(Float32Array, 'the transposed scores', cols, rows)
  const slices = new Slices()
  for (let c = 0; c < cols; c += side)
    for (let r = 0; r < rows; r += side) {
      for (let j = c; j < Math.min(c + side, cols); j++)
        for (let i = r; i < Math.min(r + side, rows); i++) out[j * rows + i] = data[i * cols + j]!
      if (slices.due()) await slices.pause(signal)
    }
  return out
}

export async function similarity(
  loaded: Loaded,
  images: ImageInput | readonly ImageInput[] | Embeddings,
  texts: string | readonly string[] | Embeddings,
  options: SimilarityOptions | undefined,
): Promise<Embeddings<readonly [images: number, texts: number]>> {
  const o = checkOptions(options, ['as', 'over', 'decode', 'signal', ...tokenizeOptionNames])
  const signal = checkSignal(o.signal)
  const as = oneOf('as', o.as ?? 'probability', ['probability', 'logit', 'cosine'])
  const over = oneOf('over', o.over ?? 'texts', ['texts', 'images'])
  loaded.calls.throwIfDisposed()
  const { embedDim: dim } = loaded.spec
  const scores = scoresOf(loaded, as)
  const { as: _as, over: _over, decode: _decode, ...encode } = o
  const { decode } = checkCallSettings(o)
  const expected = `be embeddings of ${dim} values each`
  const [i, t] = await Promise.all([
    isEmbeddings(images)
      ? checkEmbeddings('images', images, expected, dim)
      : encodeImage(loaded, images, { signal, ...(decode ? { decode } : {}) }),
    isEmbeddings(texts) ? checkEmbeddings('texts', texts, expected, dim) : encodeText(loaded, texts, encode),
  ])
  const n = i.shape[0]!
  const m = t.shape[0]!
  const swapped = over === 'images' && scores.as === 'probability'
  const [queries, classes] = swapped ? [t, i] : [i, t]
  let out = allocate(Float32Array, 'the scores', n, m)
  if (out.length > 0) {
    await fromNative(() =>
      binding().kernels.cosineSoftmax({
        queries: queries.data,
        classes: classes.data,
        out,
        rows: queries.shape[0]!,
        classCount: classes.shape[0]!,
        dim,
        ...scores,
        threads: loaded.model.threads,
        backend: kernelBackend(loaded),
      }),
    )
    signal?.throwIfAborted()
    if (swapped) out = await transpose(out, m, n, signal)
  }
  return new Embeddings(out, [n, m] as const)
}
