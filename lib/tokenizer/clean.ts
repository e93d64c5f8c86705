/** Cleans a text before it is split into words: OpenAI's cleaning, or the Hugging Face normalizer. */

import type { Steps } from '../base/slices.js'
import { fixText } from './ftfy.js'
import { unescapeHtml } from './html.js'
import { lower } from './lower.js'
import { normalizeNfc } from './normalize.js'
import { everyPiece, flat, mapPieces, piece } from './pieces.js'
import { space, whitespace } from './words.js'

/** Python's str.strip() takes White_Space and the four separators U+001C to U+001F. */
const isEdge = (code: number): boolean =>
  code <= 0x20
    ? (code >= 0x09 && code <= 0x0d) || code >= 0x1c
    : code >= 0x85 &&
      (code === 0x85 ||
        code === 0xa0 ||
        code === 0x1680 ||
        (code >= 0x2000 && code <= 0x200a) ||
        code === 0x2028 ||
        code === 0x2029 ||
        code === 0x202f ||
        code === 0x205f ||
        code === 0x3000)

/** Python's str.strip(). */
function* strip(text: string): Steps<string> {
  let start = 0
  let end = text.length
  while (start < end && isEdge(text.charCodeAt(start))) if (++start % piece === 0) yield
  while (end > start && isEdge(text.charCodeAt(end - 1))) if (--end % piece === 0) yield
  return text.slice(start, end)
}

/** Every run of White_Space, or of what `spaces` matches, becomes one space. */
function* collapse(text: string, spaces = whitespace): Steps<string> {
  if (text.length <= piece) return text.replace(spaces, ' ')
  let out = ''
  let blank = false
  for (let from = 0; from < text.length; from += piece) {
    const part = flat(text.slice(from, from + piece).replace(spaces, ' '))
    // A run that continues from the previous piece already has its space.
    out += blank && part.startsWith(' ') ? part.slice(1) : part
    blank = part.endsWith(' ')
    yield
  }
  return out
}

/** Printable ASCII without &, which repair, unescaping and normalization never change. */
const ordinary = /^[\x20-\x25\x27-\x7e]*$/

/** whitespace_clean(basic_clean(text)).lower() of OpenAI's simple_tokenizer.py. */
export function* cleanOpenai(text: string): Steps<string> {
  if (text.length <= piece && ordinary.test(text)) return text.trim().replace(whitespace, ' ').toLowerCase()
  if (!(yield* everyPiece(text, ordinary)))
    text = yield* unescapeHtml(yield* unescapeHtml(yield* fixText(text)))
  return yield* lower(yield* strip(yield* collapse(yield* strip(text))))
}

/** The white space of Python's str.split() and `re`: White_Space and the separators U+001C to U+001F. */
const pythonSpaces = new RegExp(`[\\u001c-\\u001f${space}]+`, 'gu')
/** Python's string.punctuation. */
const punctuation = /[!-/:-@[-`{-~]/g
const withoutPunctuation = (part: string): string => part.replace(punctuation, '')
const withoutUnderscores = (part: string): string => part.replaceAll('_', ' ')

/** The cleaning functions of OpenCLIP's wrapper of transformers' tokenizers, by their names there. */
export function* cleanOpenclip(text: string, how: 'whitespace' | 'lower' | 'canonicalize'): Steps<string> {
  if (!(yield* everyPiece(text, ordinary)))
    text = yield* unescapeHtml(yield* unescapeHtml(yield* fixText(text)))
  text = yield* strip(text)
  if (how === 'canonicalize')
    text = yield* lower(yield* mapPieces(yield* mapPieces(text, withoutUnderscores), withoutPunctuation))
  text = yield* strip(yield* collapse(text, pythonSpaces))
  return how === 'lower' ? yield* lower(text) : text
}

/** SiglipTokenizer.canonicalize_text of transformers. */
export function* canonicalizeSiglip(text: string, lowerCase: boolean): Steps<string> {
  if (lowerCase) text = yield* lower(text)
  return yield* strip(yield* collapse(yield* mapPieces(text, withoutPunctuation), pythonSpaces))
}

const wellFormed = (part: string): string => Buffer.from(part, 'utf8').toString('utf8')
/** Lower-cases each character by itself, without the special rule for a final sigma. */
const lowerOne = (part: string): string => part.replaceAll('\u03a3', '\u03c3').toLowerCase()

/** CLIPTokenizerFast's normalizer: NFC, White_Space runs to one space, lower case. */
export function* cleanHuggingface(text: string): Steps<string> {
  if (!(yield* everyPiece(text, ordinary))) text = yield* normalizeNfc(yield* mapPieces(text, wellFormed))
  return yield* mapPieces(yield* collapse(text), lowerOne)
}
