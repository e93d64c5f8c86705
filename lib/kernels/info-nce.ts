/** The contrastive loss of CLIP's training, as a public kernel. */

import { argumentError } from '../base/errors.js'
import type { NativeKernel } from '../native/surface.js'
import { count, floats, number, object, output, type Shape } from './arguments.js'
import { type KernelOptions, options, run } from './run.js'

declare module '../native/surface.js' {
  interface NativeKernels {
    /** `values`: the loss, and its derivative with respect to the scale. Without imagesGradient and textsGradient, only the loss. */
    infoNce: NativeKernel<{
      images: Float32Array
      texts: Float32Array
      rows: number
      dim: number
      logitScale: number
      values: Float64Array
      imagesGradient?: Float32Array
      textsGradient?: Float32Array
    }>
  }
}

/** Arguments of {@link infoNCE}. */
export interface InfoNceArguments extends KernelOptions {
  /** `[rows, dim]`: embeddings of images, used as they are (clip.encodeImage returns rows of length 1). */
  images: Float32Array
  /** `[rows, dim]`: row i belongs to row i of `images`. */
  texts: Float32Array
  /** Number of pairs. */
  rows: number
  /** Dimension of an embedding. */
  dim: number
  /** Factor of the dot products: exp of the trained parameter. Default 100, the largest value that the paper allows. */
  logitScale?: number
  /** Compute the gradients as well; default true. The loss alone takes a third of the time. */
  gradients?: boolean
  /** Arrays to write the gradients to, `[rows, dim]` each. Default: new arrays. */
  out?: { images: Float32Array; texts: Float32Array }
}

/** Result of {@link infoNCE}: the loss and its gradients. */
export interface InfoNceResult {
  /** Mean loss of both directions, in nats. */
  loss: number
  /** Gradients of the loss; absent with `gradients: false`. */
  gradients?: {
    /** [rows, dim] */
    images: Float32Array
    /** [rows, dim] */
    texts: Float32Array
    /** By `logitScale` itself; times logitScale it is the derivative by its logarithm, which is what is trained. */
    logitScale: number
  }
}

/**
 * Symmetric InfoNCE (multi-class N-pair loss): with z = logitScale * images . texts transposed, the mean of the cross
 * entropies of z's rows and of its columns, pair i belonging together; and its gradients. Radford et al. 2021, figure 3;
 * open_clip's ClipLoss. The matrix z is never stored: memory is a block of 168 rows of it, and six times the inputs.
 *
 * @returns the loss, and float32 gradients, [rows, dim] each, unless `gradients: false`
 */
export async function infoNCE(a: InfoNceArguments): Promise<InfoNceResult> {
  a = object(a)
  const rows = count('rows', a.rows)
  const dim = count('dim', a.dim)
  const shape: Shape = [
    [rows, 'rows'],
    [dim, ''],
  ]
  const images = floats('images', a.images, shape)
  const texts = floats('texts', a.texts, shape)
  const logitScale = number('logitScale', a.logitScale ?? 100)
  if (a.gradients !== undefined && typeof a.gradients !== 'boolean')
    throw argumentError('gradients', 'be true or false', a.gradients)
  const values = new Float64Array(2)
  const common = { images, texts, rows, dim, logitScale, values, ...options(a) }
  if (a.gradients === false) {
    if (a.out !== undefined) throw argumentError('out', 'be omitted with `gradients: false`', a.out)
    await run('infoNce', common)
    return { loss: values[0]! }
  }
  if (a.out !== undefined && (typeof a.out !== 'object' || a.out === null))
    throw argumentError('out', 'be { images, texts }', a.out)
  const imagesGradient = output('out.images', a.out?.images, shape, { images, texts })
  const textsGradient = output('out.texts', a.out?.texts, shape, {
    images,
    texts,
    'out.images': imagesGradient,
  })
  await run('infoNce', { ...common, imagesGradient, textsGradient })
  return {
    loss: values[0]!,
    gradients: { images: imagesGradient, texts: textsGradient, logitScale: values[1]! },
  }
}
