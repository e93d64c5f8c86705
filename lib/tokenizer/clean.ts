/** What happens to a text before it is split into words: OpenAI's cleaning, or the Hugging Face normaliser. */

import type { Steps } from '../slices.js'
import { fixText } from './ftfy.js'
import { unescapeHtml } from './html.js'
import { whitespace } from './words.js'

/** Python's str.strip(): White_Space and the four separators U+001C to U+001F. */
const edges =
  '[\\u0009-\\u000d\\u001c-\\u0020\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]'
const leading = new RegExp(`^${edges}+`, 'u')
const isEdge = new RegExp(`^${edges}$`, 'u')

/** Python's str.strip(). */
export function strip(text: string): string {
  const start = leading.exec(text)?.[0].length ?? 0
  let end = text.length
  while (end > start && isEdge.test(text[end - 1]!)) end--
  return text.slice(start, end)
}

/** Printable ASCII without &: nothing that repair, unescaping or normalisation could change. */
const ordinary = /^[\x20-\x25\x27-\x7e]*$/

const beforeOldLetter = /\u03a3(?=\p{Case_Ignorable}*\u0295)/gu
const afterOldLetter = /(?<=\u0295\p{Case_Ignorable}*)\u03a3(?!\p{Case_Ignorable}*[\p{Cased}\u0295])/gu

/** str.lower() of Python 3.11: U+0295 was still a cased letter in Unicode 14, which decides about final sigmas. */
function lower(text: string): string {
  if (text.includes('\u0295'))
    text = text.replace(afterOldLetter, '\u03c2').replace(beforeOldLetter, '\u03c3')
  return text.toLowerCase()
}

/** whitespace_clean(basic_clean(text)).lower() of OpenAI's simple_tokenizer.py. */
export function* cleanOpenai(text: string): Steps<string> {
  if (!ordinary.test(text)) text = unescapeHtml(unescapeHtml(yield* fixText(text)))
  return lower(strip(strip(text).replace(whitespace, ' ')))
}

/** CLIPTokenizerFast's normaliser: NFC, White_Space runs to one space, lower case. */
export function cleanHuggingface(text: string): string {
  if (!ordinary.test(text)) text = Buffer.from(text, 'utf8').toString('utf8').normalize('NFC')
  // Each character by itself: a final sigma is one like any other.
  return text.replace(whitespace, ' ').replaceAll('\u03a3', '\u03c3').toLowerCase()
}
