/** From what `load` is given to a path of files on disk. Downloads would enter here. */

import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { packageRoot } from './binding.js'
import { argumentError, ClipError } from './errors.js'
import { availableModels, knownModels, suggestions } from './hub/names.js'

/** The model that ships in the package: it knows icons and emoji, not photographs. */
export const embeddedModel = join(packageRoot, 'models', 'icon-clip')

/** Absolute path of a checkpoint file or folder. Rejects with ERR_CLIP_CHECKPOINT that says what was looked for. */
export async function resolveSource(source: string | URL | undefined): Promise<string> {
  if (source === undefined) return embeddedModel
  if (typeof source !== 'string' && !(source instanceof URL))
    throw argumentError('source', 'be a path, a file: URL or the name of a model', source)
  if (source === '') throw argumentError('source', 'be a path, a file: URL or the name of a model', source)
  const text = String(source)
  if (/^https?:/i.test(text))
    throw argumentError(
      'source',
      'be a path, a file: URL or the name of a model (http addresses are not opened: fetch the file first)',
      text,
    )
  if (/^file:/i.test(text)) {
    try {
      return fileURLToPath(text)
    } catch (cause) {
      throw new ClipError('ERR_CLIP_CHECKPOINT', `${text}: ${(cause as Error).message}`, {
        file: text,
        cause,
      })
    }
  }
  if (source instanceof URL) throw argumentError('source', 'be a file: URL', text)
  const path = resolve(text)
  // Anything but "there is nothing" (no permission, say) is for the reader to report.
  const missing = await stat(path).then(
    () => false,
    error => error.code === 'ENOENT' || error.code === 'ENOTDIR',
  )
  if (!missing) return path
  const known = knownModels().find(model => model.name === text)
  if (known) {
    const digest = known.sha256 ? ` (sha256 ${known.sha256})` : ''
    throw new ClipError(
      'ERR_CLIP_OFFLINE',
      `${text} is not on this machine, and this version of clip-native does not download: get ${known.url}${digest} by hand and give load() the path of what you got`,
      { field: 'source', expected: 'a path', actual: text },
    )
  }
  const near = suggestions(text)
  throw new ClipError(
    'ERR_CLIP_CHECKPOINT',
    `${text}: no file or folder ${path}, and no model of that name${near.length > 0 ? ` (did you mean ${near.join(' or ')}?)` : ''}`,
    { file: text, expected: `a file or folder, or one of ${availableModels().join(', ')}` },
  )
}
