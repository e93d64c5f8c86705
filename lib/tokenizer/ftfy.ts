/** ftfy 6.3.1's fix_text with its default configuration, which OpenAI's tokenizer applies first. */

import type { Steps } from '../base/slices.js'
import { unescapeStrict } from './html.js'
import { fixC1, fixEncoding } from './mojibake.js'
import { unescapeNested } from './nested-references.js'
import { normalizeNfc } from './normalize.js'
import { everyPiece, Joined, mapPieces, piece } from './pieces.js'
import { ligatures } from './text-tables.generated.js'
import { RefusedText } from './tokenizer.js'

/** Longer lines are repaired in parts of this many code points, as set by max_decode_length in the original. */
const maxSegment = 1_000_000

const apart = new Map(
  ligatures.split(' ').map(entry => {
    const [from, to] = entry.split(':') as [string, string]
    const char = (hex: string): string => String.fromCodePoint(Number.parseInt(hex, 16))
    return [char(from), to.split('+').map(char).join('')]
  }),
)
const ligature = new RegExp(`[${[...apart.keys()].join('')}]`, 'g')
/** Number of passes over a text before checking whether only references are left. */
const manyPasses = 4
/** Maximum number of passes, more than any known text needs; each one processes the whole text. */
const mostPasses = 256

/** Full-width and half-width forms, and the ideographic space. */
const wide = /[\u3000\uff01-\uffef]/g
const narrowed = new Map<string, string>([['\u3000', ' ']])

function narrow(char: string): string {
  const known = narrowed.get(char)
  if (known !== undefined) return known
  const now = char.normalize('NFKC')
  narrowed.set(char, now)
  return now
}

const singleQuote = /[\u02bc\u2018-\u201b]/g
const doubleQuote = /[\u201c-\u201f]/g
const lineBreak = /\r\n|[\r\u2028\u2029\u0085]/g
// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what we look for
const terminalEscape = /\x1b\[[\p{Nd};]*[a-zA-Z]/gu
const loneSurrogate = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it removes
const controls = /[\0-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]/g
/** A segment without any of these is not changed: fixes apply only to non-ASCII characters, entities and controls. */
const ordinary = /^[\t\n\f\x20-\x25\x27-\x7e]*$/

/** Characters that are replaced one by one, or together with a line feed after them. */
const fixCharacters = (part: string): string =>
  fixC1(part)
    .replace(ligature, char => apart.get(char)!)
    .replace(wide, char => narrow(char))
    .replace(doubleQuote, '"')
    .replace(singleQuote, "'")
    .replace(lineBreak, '\n')
    .replace(loneSurrogate, '\ufffd')

const escapeDigits = /[\p{Nd};]{1,512}/uy

/** Removes terminal escape sequences, with any number of digits. */
function* removeEscapes(text: string): Steps<string> {
  if (text.length <= piece) return text.replace(terminalEscape, '')
  const out = new Joined()
  let done = 0
  for (let at = text.indexOf('\x1b['); at >= 0; at = text.indexOf('\x1b[', at + 1)) {
    let end = at + 2
    do {
      yield
      escapeDigits.lastIndex = end
      end += escapeDigits.exec(text)?.[0].length ?? 0
    } while (escapeDigits.lastIndex > 0)
    if (!/^[a-zA-Z]/.test(text.slice(end, end + 1))) continue
    out.add(text.slice(done, at))
    done = end + 1
  }
  return out.end(text.slice(done))
}

const removeControls = (part: string): string => part.replace(controls, '')

/** One pass of ftfy over a text whose references are read. */
function* fixOnce(text: string): Steps<string> {
  text = yield* mapPieces(yield* fixEncoding(text), fixCharacters)
  text = yield* mapPieces(yield* removeEscapes(text), removeControls)
  return yield* normalizeNfc(text)
}

function* fixSegment(text: string, references: boolean): Steps<string> {
  if (yield* everyPiece(text, ordinary)) return text
  for (let pass = 1; ; pass++) {
    const before = text
    if (references) text = yield* unescapeStrict(text)
    const read = text
    text = yield* fixOnce(text)
    if (text === before) return text
    // From here on, only nested references may be left, one level per pass.
    if (pass >= manyPasses && text === read) text = yield* unescapeNested(text, fixOnce)
    if (pass > mostPasses)
      throw new RefusedText(`have at most ${mostPasses} levels of HTML references within each other`, 'more')
    yield
  }
}

/** End of the segment of at most maxSegment code points that starts at `from`, no later than `to`. */
function* segmentEnd(text: string, from: number, to: number): Steps<number> {
  if (to - from <= maxSegment) return to
  let at = from
  for (let count = 0; count < maxSegment && at < to; count++) {
    at += text.codePointAt(at)! > 0xffff ? 2 : 1
    if (count % 4096 === 0) yield
  }
  return at
}

/** Repairs a text line by line. From the first line that contains a "<" on, entities are not decoded. */
export function* fixText(text: string): Steps<string> {
  const fixed = new Joined()
  let references = true
  for (let from = 0; from < text.length; ) {
    const lineEnd = text.indexOf('\n', from) + 1 || text.length
    const to = yield* segmentEnd(text, from, lineEnd)
    const segment = text.slice(from, to)
    if (references && segment.includes('<')) references = false
    fixed.add(yield* fixSegment(segment, references))
    from = to
    yield
  }
  return fixed.end()
}
