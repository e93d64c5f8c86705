/**
 * Embeds the golden inputs with every golden checkpoint on the backend that this process's environment forces, and
 * prints GoldenEmbeddings by name as JSON. golden.test.ts starts it once per backend: native code reads the environment,
 * which a worker thread's process.env does not reach.
 *
 *   CLIP_NATIVE_BACKEND=avx2 node dist/test/checkpoint/embed-goldens.js [device]
 */

import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { binding } from '../../lib/native/addon.js'
import { nextJob } from '../../lib/native/jobs.js'
import { goldenPath, goldenPixels, goldens } from './goldens.js'

export interface GoldenEmbeddings {
  backend: string
  logitScale: number
  imageSize: number
  /** Not normalized, one row after the other. */
  image: number[]
  text: number[]
}

const device = process.argv[2] === 'reference' ? 'reference' : 'auto'
const all: Record<string, GoldenEmbeddings> = {}
for (const [name, golden] of Object.entries(goldens)) {
  const { model: spec, preprocess } = await readCheckpoint(goldenPath(name), {
    activation: golden.activation,
  })
  const options = { device, dtype: 'float32', threads: 1, maxBatchRows: 512 } as const
  const model = await binding().loadModel(nextJob(), spec, preprocess, options)
  try {
    const images = goldenPixels(golden.imageSize).map(planes => ({ planes }))
    const ids = Int32Array.from(golden.texts.flat())
    const lengths = Int32Array.from(golden.texts.map(text => text.length))
    all[name] = {
      backend: model.backend,
      logitScale: spec.scoring?.scale ?? Number.NaN,
      imageSize: model.shapes.image?.size ?? 0,
      image: [...(await model.encodeImage(nextJob(), images, 'embedding', false))],
      text: [...(await model.encodeText(nextJob(), ids, lengths, 'embedding', false))],
    }
  } finally {
    await model.dispose()
  }
}
// NaN becomes null, which equals nothing.
console.log(JSON.stringify(all))
