/**
 * Repairs UTF-8 text that was decoded in a single-byte encoding, as ftfy 6.3.1's fix_encoding does. Bytes are stored as strings
 * of U+0000 to U+00FF, so that regular expressions can match bytes.
 */

import type { Steps } from '../base/slices.js'
import { everyPiece, Joined, mapPieces, piece, replacePieces, somePiece } from './pieces.js'
import { badness, encodings, utf8Detector, windows1252 } from './text-tables.generated.js'

const unlikely = new RegExp(badness, 'u')
/** Length of its longest pattern in characters. */
const unlikelyLength = 8
/** The pattern is (not after these)(the bytes of a character)+, here without the +. */
const firstUtf8 = new RegExp(utf8Detector.slice(0, -1), 'gu')
const moreUtf8 = new RegExp(utf8Detector.slice(utf8Detector.indexOf('(?:'), -1), 'uy')
/** The bytes of one character. */
const utf8Length = 4
// biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII is meant
const ascii = /^[\x00-\x7f]*$/
const c1 = /[\x80-\x9f]/g
/** Bytes that are undefined in windows-1252. */
const undefined1252 = new RegExp(
  `[${[...windows1252].map((char, i) => (char === '\ufffd' ? String.fromCharCode(0x80 + i) : '')).join('')}]`,
)

/** Bytes that would be UTF-8 if a space were the byte A0; the lead bytes are those that ftfy selected. */
const altered = new RegExp(
  '[\xc2\xc3\xc5\xce\xd0\xd9][ ]' +
    '|[\xe2\xe3][ ][\x80-\x84\x86-\x9f\xa1-\xbf]' +
    '|[\xe0-\xe3][\x80-\x84\x86-\x9f\xa1-\xbf][ ]' +
    '|[\xf0][ ][\x80-\xbf][\x80-\xbf]' +
    '|[\xf0][\x80-\xbf][ ][\x80-\xbf]' +
    '|[\xf0][\x80-\xbf][\x80-\xbf][ ]',
  'g',
)
/** An "a" with grave whose A0 was lost, unless one of the Portuguese words it could swallow follows. */
const aGraveWord = /\xc3 (?! |quele|quela|quilo|s )/g
/** Number of characters that these patterns look at. */
const alteredLength = 8

function* restoreSpaces(bytes: string): Steps<string> {
  if (bytes.length <= piece && bytes.search(altered) < 0) return bytes
  const graves = yield* replacePieces(bytes, aGraveWord, alteredLength, () => '\xc3\xa0 ')
  return yield* replacePieces(graves, altered, alteredLength, part => part.replaceAll(' ', '\xa0'))
}

/** UTF-8 and CESU-8 in which bytes were replaced by 1A, which represents U+FFFD, or by a question mark. */
const lossy = new RegExp(
  '[\xc2-\xdf][\x1a]' +
    '|[\xc2-\xc3][?]' +
    '|\xed[\xa0-\xaf][\x1a?]\xed[\xb0-\xbf][\x1a?\x80-\xbf]' +
    '|\xed[\xa0-\xaf][\x1a?\x80-\xbf]\xed[\xb0-\xbf][\x1a?]' +
    '|[\xe0-\xef][\x1a?][\x1a\x80-\xbf]' +
    '|[\xe0-\xef][\x1a\x80-\xbf][\x1a?]' +
    '|[\xf0-\xf4][\x1a?][\x1a\x80-\xbf][\x1a\x80-\xbf]' +
    '|[\xf0-\xf4][\x1a\x80-\xbf][\x1a?][\x1a\x80-\xbf]' +
    '|[\xf0-\xf4][\x1a\x80-\xbf][\x1a\x80-\xbf][\x1a?]' +
    '|\x1a',
  'g',
)
const lossyLength = 6
const replacementBytes = '\xef\xbf\xbd'

interface Charmap {
  name: string
  /** Undefined bytes are read as Latin-1, and 1A as U+FFFD. */
  sloppy: boolean
  /** Byte of each character beyond ASCII. */
  bytes: Map<number, number>
}

const charmaps: Charmap[] = encodings.map(([name, upper]) => ({
  name,
  sloppy: name.startsWith('sloppy'),
  bytes: new Map([...upper].map((char, i) => [char.codePointAt(0)!, 0x80 + i])),
}))
/** windows-1252 with Latin-1 for its undefined bytes. */
const sloppy1252 = encodings.find(([name]) => name === 'sloppy-windows-1252')![1]

/** The bytes of a text in an encoding; undefined if the encoding lacks one of its characters. */
function* encode(text: string, { sloppy, bytes }: Charmap): Steps<string | undefined> {
  const codes = Buffer.allocUnsafe(text.length)
  for (let i = 0; i < text.length; i++) {
    if (i % piece === piece - 1) yield
    const code = text.charCodeAt(i)
    let byte: number | undefined = code
    if (code > 0x7f) byte = sloppy && code === 0xfffd ? 0x1a : bytes.get(code)
    else if (sloppy && code === 0x1a) byte = undefined
    if (byte === undefined) return undefined
    codes[i] = byte
  }
  return codes.toString('latin1')
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Undefined if the bytes are not UTF-8. */
function* decodeUtf8(bytes: string): Steps<string | undefined> {
  let text = ''
  for (let from = 0; from < bytes.length; ) {
    let to = Math.min(from + piece, bytes.length)
    // Don't cut within a character. With more than four continuation bytes it is not UTF-8 anyway.
    for (let i = 0; i < 4 && to < bytes.length && (bytes.charCodeAt(to) & 0xc0) === 0x80; i++) to++
    try {
      text += strictUtf8.decode(Buffer.from(bytes.slice(from, to), 'latin1'))
    } catch {
      return undefined
    }
    if (bytes.length > piece) yield
    from = to
  }
  return text
}

const variant = /\xc0\x80|\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]/y
const variantStart = /[\xc0\xed]/

/** UTF-8 in which U+0000 may be C0 80, and characters beyond FFFF may be two surrogates of three bytes each. */
function* decodeVariants(bytes: string): Steps<string | undefined> {
  const text = new Joined()
  let done = 0
  let work = 0
  for (let from = 0; from < bytes.length; ) {
    if (++work % 64 === 0) yield
    const start = bytes.slice(from, from + piece).search(variantStart)
    if (start < 0) {
      from += piece
      continue
    }
    const at = from + start
    variant.lastIndex = at
    const found = variant.exec(bytes)
    from = at + 1
    if (!found) continue
    const plain = yield* decodeUtf8(bytes.slice(done, at))
    if (plain === undefined) return undefined
    text.add(plain)
    if (found[0].length === 2) text.add('\0')
    else {
      const bits = (offset: number, mask: number): number => bytes.charCodeAt(at + offset) & mask
      text.add(
        String.fromCodePoint(
          0x10000 + ((bits(1, 0x0f) << 16) | (bits(2, 0x3f) << 10) | (bits(4, 0x0f) << 6) | bits(5, 0x3f)),
        ),
      )
    }
    done = from = at + found[0].length
  }
  const plain = yield* decodeUtf8(bytes.slice(done))
  return plain === undefined ? undefined : text.end(plain)
}

/** ftfy's is_bad. */
export function* isBad(text: string): Steps<boolean> {
  if (text.length <= piece) return unlikely.test(text)
  for (let from = 0; from < text.length; from += piece) {
    const part = text.slice(from, from + piece + unlikelyLength)
    // One of the patterns matches only at the start of a text, and must see that this is not the start.
    if (unlikely.test(from === 0 ? part : `\n${part}`)) return true
    yield
  }
  return false
}

const c1Char = (char: string): string => sloppy1252[char.charCodeAt(0) - 0x80]!

/** Replaces U+0080 to U+009F by the characters of windows-1252 at these positions. */
export const fixC1 = (text: string): string => text.replace(c1, c1Char)

function* decodePart(text: string, from: number, to: number): Steps<string> {
  const part = text.slice(from, to)
  return part.length < text.length && (yield* isBad(part)) ? yield* fixEncoding(part) : part
}

/** The end of the run of encoded characters that continues at `at`. */
function* runEnd(text: string, at: number): Steps<number> {
  let work = 0
  for (;;) {
    moreUtf8.lastIndex = at
    const more = moreUtf8.exec(text)
    if (!more) return at
    at += more[0].length
    if (++work % 128 === 0) yield
  }
}

/** Decodes each run of bytes that looks like UTF-8 separately. */
function* decodeInconsistent(text: string): Steps<string> {
  const out = new Joined()
  let done = 0
  let work = 0
  for (let from = 0; from < text.length; ) {
    if (++work % 64 === 0 || text.length > piece) yield
    // Include one more character at the front, for the lookbehind; don't split a surrogate pair.
    const start = Math.max(0, from - 2)
    const window = text.slice(start, from + piece + utf8Length)
    firstUtf8.lastIndex = from - start
    const match = firstUtf8.exec(window)
    if (!match || start + match.index >= from + piece) {
      from += piece
      continue
    }
    const at = start + match.index
    const end = yield* runEnd(text, at + match[0].length)
    out.add(text.slice(done, at))
    out.add(yield* decodePart(text, at, end))
    done = from = end
  }
  return out.end(text.slice(done))
}

function* oneStep(text: string): Steps<string> {
  if ((yield* everyPiece(text, ascii)) || !(yield* isBad(text))) return text
  let latin1: string | undefined
  for (const charmap of charmaps) {
    let bytes = yield* encode(text, charmap)
    if (bytes === undefined) continue
    if (charmap.name === 'latin-1') latin1 = bytes
    // MacRoman has its en dash at D0: "– " would look like a lost A0.
    if (charmap.name !== 'macroman') bytes = yield* restoreSpaces(bytes)
    if (charmap.sloppy) bytes = yield* replacePieces(bytes, lossy, lossyLength, () => replacementBytes)
    const fixed = yield* bytes.includes('\xed') || bytes.includes('\xc0')
      ? decodeVariants(bytes)
      : decodeUtf8(bytes)
    if (fixed !== undefined) return fixed
  }
  const decoded = yield* decodeInconsistent(text)
  if (decoded !== text) return decoded
  if (latin1 !== undefined) {
    // Undefined bytes make the whole decoding fail, as does a decoding that changes nothing.
    const fixed = yield* mapPieces(text, part =>
      part.replace(c1, char => windows1252[char.charCodeAt(0) - 0x80]!),
    )
    if (fixed !== text && !(yield* somePiece(text, undefined1252))) return fixed
  }
  return yield* mapPieces(text, fixC1)
}

/** ftfy's fix_encoding: repeats its steps until nothing changes. */
export function* fixEncoding(text: string): Steps<string> {
  for (;;) {
    const next = yield* oneStep(text)
    if (next === text) return text
    text = next
  }
}
