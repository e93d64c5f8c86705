/** ftfy 6.3.1's fix_text with its default configuration: what OpenAI's tokenizer does to a text first. */

import type { Steps } from '../slices.js'
import { unescapeStrict } from './html.js'
import { fixC1, fixEncoding } from './mojibake.js'
import { ligatures } from './text-tables.generated.js'

/** Longer lines are repaired in parts of this many code points, as the original's max_decode_length has it. */
const maxSegment = 1_000_000

const apart = new Map(
  ligatures.split(' ').map(entry => {
    const [from, to] = entry.split(':') as [string, string]
    const char = (hex: string): string => String.fromCodePoint(Number.parseInt(hex, 16))
    return [char(from), to.split('+').map(char).join('')]
  }),
)
const ligature = new RegExp(`[${[...apart.keys()].join('')}]`, 'g')
/** Full-width and half-width forms, and the ideographic space. */
const wide = /[\u3000\uff01-\uffef]/g
const singleQuote = /[\u02bc\u2018-\u201b]/g
const doubleQuote = /[\u201c-\u201f]/g
const lineBreak = /\r\n|[\r\u2028\u2029\u0085]/g
// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what we look for
const terminalEscape = /\x1b\[[\p{Nd};]*[a-zA-Z]/gu
const loneSurrogate = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it removes
const controls = /[\0-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]/g
/** Without any of these a segment stays as it is: what a fix needs is beyond ASCII, an entity or a control. */
const ordinary = /^[\t\n\f\x20-\x25\x27-\x7e]*$/

function fixSegment(text: string, references: boolean): string {
  if (ordinary.test(text)) return text
  for (;;) {
    const before = text
    if (references) text = unescapeStrict(text)
    text = fixEncoding(text)
    text = fixC1(text)
      .replace(ligature, char => apart.get(char)!)
      .replace(wide, char => (char === '\u3000' ? ' ' : char.normalize('NFKC')))
      .replace(doubleQuote, '"')
      .replace(singleQuote, "'")
      .replace(lineBreak, '\n')
      .replace(loneSurrogate, '\ufffd')
      .replace(terminalEscape, '')
      .replace(controls, '')
      .normalize('NFC')
    if (text === before) return text
  }
}

/** End of the segment of at most maxSegment code points that starts at `from`, no later than `to`. */
function segmentEnd(text: string, from: number, to: number): number {
  if (to - from <= maxSegment) return to
  let at = from
  for (let count = 0; count < maxSegment && at < to; count++) at += text.codePointAt(at)! > 0xffff ? 2 : 1
  return at
}

/** Repairs a text line by line. Entities are left alone from the first line on that has a "<" of its own. */
export function* fixText(text: string): Steps<string> {
  let fixed = ''
  let references = true
  for (let from = 0; from < text.length; ) {
    const lineEnd = text.indexOf('\n', from) + 1 || text.length
    const to = segmentEnd(text, from, lineEnd)
    const segment = text.slice(from, to)
    if (references && segment.includes('<')) references = false
    fixed += fixSegment(segment, references)
    from = to
    yield
  }
  return fixed
}
