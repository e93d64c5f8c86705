/** Splits a cleaned text into words: CLIP's pattern, as each of the two original implementations matches it. */

/** Unicode's White_Space, which is \s in `regex` and Oniguruma; JavaScript's \s lacks U+0085 and includes U+FEFF. */
export const space =
  '\\u0009-\\u000d\\u0020\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000'

/** Collapses runs of White_Space to one space. */
export const whitespace = new RegExp(`[${space}]+`, 'gu')

/** Characters of a word that are matched at once; longer words are joined from parts. */
const atOnce = 512

interface Pattern {
  /** A special token, a contraction, (letters), a digit or (others), at one position. */
  word: RegExp
  letters: RegExp
  others: RegExp
}

function pattern(specials: string, s: string, notOther: string): Pattern {
  const contractions = `'${s}|'t|'re|'ve|'m|'ll|'d`
  const letters = `[\\p{L}]{1,${atOnce}}`
  const others = `[^${space}\\p{L}\\p{N}${notOther}]{1,${atOnce}}`
  return {
    word: new RegExp(`${specials}${contractions}|(${letters})|[\\p{N}]|(${others})`, 'uy'),
    letters: new RegExp(letters, 'uy'),
    others: new RegExp(others, 'uy'),
  }
}

/*
 * OpenAI compiles the pattern with Python's `regex` module and IGNORECASE. Texts are lower-cased before, so the flag has only
 * two effects: s also matches the long s (U+017F), and the last class does not match U+0345, which folds to a letter, so that
 * it is dropped. JavaScript's own i flag has other effects, so both are written out.
 */
const longS = '[s\\u017f]'
const openai = pattern('', longS, '\\u0345')
const openaiSpecials = pattern(`<\\|${longS}tartoftext\\|>|<\\|endoftext\\|>|`, longS, '\\u0345')
const huggingface = pattern('', 's', '')
const huggingfaceSpecials = pattern('<\\|startoftext\\|>|<\\|endoftext\\|>|', 's', '')

/** Yields words, and undefined for a pause often enough that the event loop does not wait long. */
export type Words = Generator<string | undefined, void, void>

function* split(text: string, { word, letters, others }: Pattern): Words {
  let at = 0
  let skipped = 0
  while (at < text.length) {
    word.lastIndex = at
    const match = word.exec(text)
    if (!match) {
      at++ // a space, or a character that the pattern skips; none of them is above U+FFFF
      if (++skipped % 512 === 0) yield
      continue
    }
    let found = match[0]
    at += found.length
    const more = match[1] === undefined ? (match[2] === undefined ? undefined : others) : letters
    if (more && found.length >= atOnce)
      for (;;) {
        yield
        more.lastIndex = at
        const rest = more.exec(text)?.[0]
        if (rest === undefined) break
        found += rest
        at += rest.length
      }
    yield found
  }
}

/** The words of a text that cleanOpenai returned; with `specials`, special tokens are separate words. */
export const openaiWords = (text: string, specials: boolean): Words =>
  split(text, specials ? openaiSpecials : openai)

/** The words of a text that cleanHuggingface returned. Parts that `specials` cuts off are split again, as by ByteLevel. */
export function* huggingfaceWords(text: string, specials: boolean): Words {
  for (const word of split(text, specials ? huggingfaceSpecials : huggingface)) {
    if (word === '<|startoftext|>' || word === '<|endoftext|>') yield* huggingfaceWords(word, false)
    else yield word
  }
}
