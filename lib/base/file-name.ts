/**
 * Converts file names between bytes, which is what they are for the system, and strings. A name that is not UTF-8 can't be
 * converted to a string without loss, so it is written as a file: URL with its bytes percent-encoded.
 */

import { isUtf8 } from 'node:buffer'
import { sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { argumentError } from './errors.js'
import { isUrl } from './values.js'

/** Letters, digits and - . _ ~ / are not encoded in a URL. */
const isPlain = (byte: number) =>
  (byte >= 0x2d && byte <= 0x39) ||
  (byte >= 0x41 && byte <= 0x5a) ||
  (byte >= 0x61 && byte <= 0x7a) ||
  byte === 0x5f ||
  byte === 0x7e

/** Bytes of a path, percent-encoded. */
export const percentEncoded = (bytes: Uint8Array): string =>
  Array.from(bytes, byte =>
    isPlain(byte) ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
  ).join('')

/** A path as a string, or as a file: URL if its bytes are not UTF-8. */
export function nameOfPath(path: Buffer): string {
  if (isUtf8(path)) return path.toString('utf8')
  const absolute = path.toString('latin1').startsWith('/')
  return `file://${percentEncoded(absolute ? path : joinBytes(Buffer.from(process.cwd()), path))}`
}

/**
 * The path of a file: URL, as bytes if it is not UTF-8. Throws Node's error for a URL that does not name a file on this
 * machine (another host, an encoded slash or NUL).
 */
export function pathOfUrl(url: URL | string): string | Buffer {
  try {
    return fileURLToPath(url)
  } catch (cause) {
    const { hostname, pathname, protocol } = new URL(url)
    if (
      !(cause instanceof URIError) ||
      protocol !== 'file:' ||
      hostname !== '' ||
      process.platform === 'win32'
    )
      throw cause
    const bytes = Buffer.from(
      pathname.replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
      'latin1',
    )
    if (/%2f/i.test(pathname) || bytes.includes(0)) throw cause
    return bytes
  }
}

/** Folder and name as bytes. */
export function joinBytes(folder: Buffer, name: Uint8Array): Buffer {
  const ended = folder.length > 0 && (folder.at(-1) === 0x2f || folder.at(-1) === sep.charCodeAt(0))
  return Buffer.concat(ended ? [folder, name] : [folder, Buffer.from(sep), name])
}

/**
 * Checks a caller's folder or data set, which may be a path or a file: URL (a URL object or a string), and returns its path,
 * as bytes if it is not UTF-8.
 */
export function checkPath(field: string, value: unknown): string | Buffer {
  const expected = 'be a path or a file: URL'
  const text = isUrl(value) ? value.href : value
  if (typeof text !== 'string' || text === '') throw argumentError(field, expected, value)
  if (/^file:/i.test(text)) {
    try {
      return pathOfUrl(text)
    } catch {
      throw argumentError(field, 'be a file: URL of this machine, without encoded slashes', text)
    }
  }
  if (isUrl(value) || /^([a-z][a-z0-9+.-]*:\/\/|data:)/i.test(text))
    throw argumentError(field, `${expected} (nothing is downloaded: fetch it first)`, text)
  if (text.includes('\0')) throw argumentError(field, 'be a path without NUL characters', text)
  return text
}

/** A hint to append to "does not exist" if a string path has probably lost bytes of the name that was meant. */
export function lostBytes(path: string): string {
  if (path.includes('\ufffd'))
    return ' (its name has U+FFFD, which stands for bytes that are not UTF-8: name the folder that it lies in, or give a file: URL with these bytes percent-encoded)'
  if (/\p{Surrogate}/u.test(path))
    return ' (its name has half of a surrogate pair, which no name in UTF-8 has)'
  return ''
}
