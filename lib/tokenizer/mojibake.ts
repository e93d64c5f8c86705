/**
 * Finds text that was UTF-8 and was read in a single-byte encoding, and reads it again: ftfy 6.3.1's fix_encoding.
 * Bytes are kept as strings of U+0000 to U+00FF, so that patterns over bytes are patterns over strings.
 */

import { badness, encodings, utf8Detector, windows1252 } from './text-tables.generated.js'

const unlikely = new RegExp(badness, 'u')
const looksLikeUtf8 = new RegExp(utf8Detector, 'gu')
const firstUtf8 = new RegExp(utf8Detector, 'u')
// biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII is meant
const ascii = /^[\x00-\x7f]*$/
const c1 = /[\x80-\x9f]/g

/** Bytes that would be UTF-8 if a space were the A0 it may have been; ftfy chose the lead bytes one by one. */
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
/** UTF-8 and CESU-8 some of whose bytes were replaced: by 1A, which stands for U+FFFD, or by a question mark. */
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
const replacementBytes = '\xef\xbf\xbd'

interface Charmap {
  name: string
  /** Fills holes with Latin-1 and reads 1A as U+FFFD. */
  sloppy: boolean
  /** Byte of each character beyond ASCII. */
  bytes: Map<number, number>
}

const charmaps: Charmap[] = encodings.map(([name, upper]) => ({
  name,
  sloppy: name.startsWith('sloppy'),
  bytes: new Map([...upper].map((char, i) => [char.codePointAt(0)!, 0x80 + i])),
}))
/** windows-1252 with its holes filled by Latin-1. */
const sloppy1252 = encodings.find(([name]) => name === 'sloppy-windows-1252')![1]

/** The bytes of a text in an encoding; undefined where it has characters that the encoding lacks. */
function encode(text: string, { sloppy, bytes }: Charmap): string | undefined {
  const codes = Buffer.allocUnsafe(text.length)
  for (let i = 0; i < text.length; i++) {
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

function decodeUtf8(bytes: string): string | undefined {
  try {
    return strictUtf8.decode(Buffer.from(bytes, 'latin1'))
  } catch {
    return undefined
  }
}

const variant = /\xc0\x80|\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]/

/** UTF-8 in which U+0000 may be C0 80, and characters beyond FFFF may be two surrogates of three bytes each. */
function decodeVariants(bytes: string): string | undefined {
  let text = ''
  while (bytes.length > 0) {
    const found = variant.exec(bytes)
    const plain = decodeUtf8(found ? bytes.slice(0, found.index) : bytes)
    if (plain === undefined) return undefined
    text += plain
    if (!found) return text
    const at = found.index
    if (found[0].length === 2) text += '\0'
    else {
      const bits = (offset: number, mask: number): number => bytes.charCodeAt(at + offset) & mask
      text += String.fromCodePoint(
        0x10000 + ((bits(1, 0x0f) << 16) | (bits(2, 0x3f) << 10) | (bits(4, 0x0f) << 6) | bits(5, 0x3f)),
      )
    }
    bytes = bytes.slice(at + found[0].length)
  }
  return text
}

const isBad = (text: string): boolean => unlikely.test(text)

/** Characters U+0080 to U+009F as the characters windows-1252 has there. */
export function fixC1(text: string): string {
  return text.replace(c1, char => sloppy1252[char.charCodeAt(0) - 0x80]!)
}

function decodeInconsistent(text: string): string {
  return text.replace(looksLikeUtf8, part =>
    part.length < text.length && isBad(part) ? fixEncoding(part) : part,
  )
}

function oneStep(text: string): string {
  if (ascii.test(text) || !isBad(text)) return text
  let latin1: string | undefined
  for (const charmap of charmaps) {
    let bytes = encode(text, charmap)
    if (bytes === undefined) continue
    if (charmap.name === 'latin-1') latin1 = bytes
    // MacRoman has its en dash at D0: "– " would look like a lost A0.
    if (charmap.name !== 'macroman' && bytes.search(altered) >= 0)
      bytes = bytes.replace(aGraveWord, '\xc3\xa0 ').replace(altered, part => part.replaceAll(' ', '\xa0'))
    if (charmap.sloppy) bytes = bytes.replace(lossy, replacementBytes)
    const fixed = /[\xed\xc0]/.test(bytes) ? decodeVariants(bytes) : decodeUtf8(bytes)
    if (fixed !== undefined) return fixed
  }
  if (firstUtf8.test(text)) {
    const fixed = decodeInconsistent(text)
    if (fixed !== text) return fixed
  }
  if (latin1 !== undefined) {
    const fixed = text.replace(c1, char => windows1252[char.charCodeAt(0) - 0x80]!)
    // Undefined bytes make the whole reading fail, as does a reading that changes nothing.
    const valid = !text.match(c1)?.some(char => windows1252[char.charCodeAt(0) - 0x80] === '\ufffd')
    if (valid && fixed !== text) return fixed
  }
  return text.search(c1) >= 0 ? fixC1(text) : text
}

/** ftfy's fix_encoding: steps until nothing changes. */
export function fixEncoding(text: string): string {
  for (;;) {
    const next = oneStep(text)
    if (next === text) return text
    text = next
  }
}
