/**
 * The rival's encoder: transformers.js with the methods of clip-native that the service calls, so that both services
 * differ in nothing else. As its documentation says: RawImage, processor, model; label embeddings are made once.
 */

import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

class Rows {
  constructor(data, width) {
    this.data = data
    this.shape = [data.length / width, width]
  }

  row(i) {
    return this.data.subarray(i * this.shape[1], (i + 1) * this.shape[1])
  }
}

function normalised(data, width) {
  for (let at = 0; at < data.length; at += width) {
    const row = data.subarray(at, at + width)
    const norm = Math.hypot(...row)
    for (let i = 0; i < width; i++) row[i] /= norm
  }
  return new Rows(data, width)
}

/** `peers`: the folder where @huggingface/transformers is installed; `folder`: the model in its layout. */
export async function openTransformers({ peers, folder, threads, maxQueue }) {
  const require = createRequire(join(peers, 'package.json'))
  const { env, AutoProcessor, AutoTokenizer, RawImage, ...models } = await import(
    pathToFileURL(require.resolve('@huggingface/transformers')).href
  )
  env.allowRemoteModels = false
  const options = {
    dtype: 'fp32',
    device: 'cpu',
    local_files_only: true,
    session_options: { intraOpNumThreads: threads, interOpNumThreads: 1 },
  }
  const processor = await AutoProcessor.from_pretrained(folder, options)
  const vision = await models.CLIPVisionModelWithProjection.from_pretrained(folder, options)
  const tokenizer = await AutoTokenizer.from_pretrained(folder, options)
  const text = await models.CLIPTextModelWithProjection.from_pretrained(folder, options)
  const { projection_dim: embedDim } = vision.config
  let waiting = 0

  /** At most as many calls as with clip-native: one more is refused with the same code. */
  async function admitted(work) {
    if (waiting > maxQueue)
      throw Object.assign(new Error(`${waiting} calls are waiting`), { code: 'ERR_CLIP_BUSY' })
    waiting++
    try {
      return await work()
    } finally {
      waiting--
    }
  }

  const clip = {
    info: {
      ...{
        embedDim,
        imageSize: 224,
        contextLength: 77,
        device: 'cpu',
        backend: 'onnxruntime',
        dtype: 'float32',
      },
      ...{ threads: threads ?? availableParallelism(), fingerprint: 'onnx' },
    },
    encodeImage: (bytes, { signal } = {}) =>
      admitted(async () => {
        const image = await RawImage.read(new Blob([bytes]))
        signal?.throwIfAborted()
        const { image_embeds } = await vision(await processor(image))
        return normalised(image_embeds.data, embedDim)
      }),
    encodeText: texts =>
      admitted(async () => {
        const { text_embeds } = await text(tokenizer(texts, { padding: true, truncation: true }))
        return normalised(text_embeds.data, embedDim)
      }),
    async classifier(labels, { templates }) {
      const embeddings = await clip.encodeText(labels.map(label => templates[0].replaceAll('{}', label)))
      return {
        embeddings,
        async classify(bytes, { topK = 5, signal }) {
          const row = (await clip.encodeImage(bytes, { signal })).row(0)
          const logits = labels.map(
            (_, i) => 100 * embeddings.row(i).reduce((sum, x, j) => sum + x * row[j], 0),
          )
          const most = Math.max(...logits)
          const powers = logits.map(logit => Math.exp(logit - most))
          const sum = powers.reduce((a, b) => a + b)
          return labels
            .map((label, index) => ({ label, score: powers[index] / sum, index }))
            .sort((a, b) => b.score - a.score)
            .slice(0, topK)
        },
      }
    },
    async dispose() {},
  }
  return clip
}
