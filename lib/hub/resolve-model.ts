/** Resolves the source of `load` to a path on disk. */

import { join } from 'node:path'
import { argumentError } from '../base/errors.js'
import { pathOf } from '../base/options.js'
import { isUrl } from '../base/values.js'
import { type HubOptions, resolveName } from './index.js'

/** The model that ships in the package: it knows icons and emoji, not photographs. */
export const embeddedModel = join(__dirname, '../../../models/icon-clip')

/**
 * Returns the absolute path of a checkpoint file or folder; a named model that is not on this machine is downloaded.
 * Rejects with an error that says where it was looked for.
 */
export async function resolveModel(
  source: string | URL | undefined,
  options: Pick<HubOptions, 'cacheDir' | 'offline' | 'onProgress' | 'signal'>,
): Promise<string> {
  if (source === undefined) return embeddedModel
  if (typeof source !== 'string' && !isUrl(source))
    throw argumentError('source', 'be a path, a file: URL or the name of a model', source)
  if (source === '') throw argumentError('source', 'be a path, a file: URL or the name of a model', source)
  const text = isUrl(source) ? source.href : source
  if (/^https?:/i.test(text))
    throw argumentError(
      'source',
      'be a path, a file: URL or the name of a model (http addresses are not opened: fetch the file first)',
      text,
    )
  if (/^file:/i.test(text)) return pathOf('source', URL.canParse(text) ? new URL(text) : source)
  if (isUrl(source)) throw argumentError('source', 'be a file: URL', text)
  return resolveName(text, options)
}
