/** Opens a weight file of any supported format, which is recognised by its first bytes. */

import { badCheckpoint, type Pace } from './errors.js'
import { readSafetensors } from './safetensors.js'
import { openSource, type SourceFile } from './source-file.js'
import type { TensorTable } from './tensors.js'
import { readOldTorch, readTorch } from './torch.js'

const KNOWN_OTHERS: [RegExp, string][] = [
  [/^version https:\/\/git-lfs/, 'is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`'],
  [/^\s*<(!doctype|html)/i, 'is an HTML page, not a checkpoint: the download went wrong'],
  [/^GGUF/, 'is a GGUF file, which is not read'],
  [/^\x89HDF/, 'is an HDF5 file (Keras), which is not read'],
]

/** Adds the file's tensors to `table`; the opened file goes into `opened` for the caller to close. */
export async function readWeights(
  path: string,
  table: TensorTable,
  pace: Pace,
  opened: SourceFile[],
): Promise<void> {
  const file = await openSource(path, pace.signal)
  opened.push(file)
  if (file.bytes === 0) throw badCheckpoint(path, 'header', 'is empty')
  const start = (await file.read(0, Math.min(64, file.bytes))).toString('latin1')
  if (start.startsWith('PK\x03\x04')) return readTorch(file, table, pace)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: opcode PROTO and its protocol
  if (/^\x80[\x02-\x05]/.test(start) && start[8] !== '{') return readOldTorch(file, table, pace)
  for (const [pattern, what] of KNOWN_OTHERS)
    if (start[8] !== '{' && pattern.test(start)) throw badCheckpoint(path, 'header', what)
  if (file.bytes > 8 && start[8] !== '{')
    throw badCheckpoint(path, 'header', 'is neither a safetensors file nor one that PyTorch saved')
  await readSafetensors(file, table, pace)
}
