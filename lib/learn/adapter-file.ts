/** Reads adapters from disk, and puts their projections in place of a checkpoint's own. */

import { createHash } from 'node:crypto'
import { pathOf } from '../base/options.js'
import { badCheckpoint } from '../checkpoint/errors.js'
import { checkFingerprint } from '../checkpoint/fingerprint.js'
import type { NamedCheckpoint } from '../checkpoint/spec.js'
import { type Tensor, TensorFile, writeTensorFile } from '../checkpoint/tensor-file.js'
import { contiguous } from '../checkpoint/tensors.js'
import type { Embeddings } from '../encode/embeddings.js'
import type { Loaded } from '../encode/loaded-model.js'
import type { ModelSpec, TensorView } from '../native/spec.js'

const format = 'clip-native/adapter'
const mostBytes = 2 ** 30

interface Trained {
  logitScale: number
  loss: number
  projections: { image: Embeddings; text: Embeddings }
}

export async function writeAdapter(
  loaded: Loaded,
  file: string | URL,
  { logitScale, loss, projections }: Trained,
  about: Record<string, number>,
): Promise<void> {
  await writeTensorFile(
    pathOf('file', file),
    format,
    { fingerprint: loaded.checkpoint.fingerprint, logitScale: String(logitScale), loss: String(loss) },
    about,
    { image: projections.image, text: projections.text },
  )
}

/** The canonical names of a model's last matrices. */
export function projectionNames(model: ModelSpec): { image?: string; text?: string } {
  return {
    ...(model.image
      ? { image: model.image.kind === 'transformer' ? 'image.projection' : 'image.pool.out.weight' }
      : {}),
    ...(model.text ? { text: 'text.projection' } : {}),
  }
}

/**
 * The checkpoint with the adapter's projections and temperature. Rejects with ERR_CLIP_CHECKPOINT for a damaged file,
 * ERR_CLIP_MODEL_MISMATCH for one that was made with other weights. The fingerprint changes, because the embeddings do.
 */
export async function withAdapter(
  checkpoint: NamedCheckpoint,
  source: string | URL,
  signal: AbortSignal | undefined,
): Promise<NamedCheckpoint> {
  const path = pathOf('adapter', source)
  const file = await TensorFile.read(path, format, mostBytes, signal)
  checkFingerprint(checkpoint.fingerprint, path, 'this adapter', file.metadata.get('fingerprint'))
  const logitScale = file.number('logitScale')
  if (!(logitScale > 0 && logitScale <= 1000))
    throw badCheckpoint(
      path,
      '__metadata__.logitScale',
      `expected \`logitScale\` to be more than 0, got ${logitScale}`,
    )
  const { model } = checkpoint
  const hash = createHash('sha256').update(checkpoint.fingerprint).update(String(logitScale))
  const tensors = { ...model.tensors }
  for (const [tower, name] of Object.entries(projectionNames(model))) {
    if (!model.tensors[name])
      throw badCheckpoint(
        path,
        tower,
        `is for a model with a projection of its ${tower} tower, which this checkpoint lacks`,
      )
    const { shape } = model.tensors[name]
    const { data }: Tensor = file.tensor(tower, shape)
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    const view: TensorView = {
      name: `${tower} in ${path}`,
      file: model.files.length,
      dtype: 'F32',
      shape,
      strides: contiguous(shape),
      offset: file.offsetOf(tower),
    }
    tensors[name] = view
  }
  return {
    ...checkpoint,
    fingerprint: hash.digest('hex').slice(0, 32),
    model: {
      ...model,
      scoring: { kind: 'softmax', scale: logitScale, bias: 0 },
      files: [...model.files, path],
      fileBytes: [...model.fileBytes, file.bytes],
      tensors,
    },
  }
}
