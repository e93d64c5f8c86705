/** How a cleaned text falls into words: CLIP's pattern, as each of the two originals matches it. */

/** Unicode's White_Space, as `regex` and Oniguruma take \s; JavaScript's \s lacks U+0085 and has U+FEFF. */
const space = '\\u0009-\\u000d\\u0020\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000'

/** Collapses runs of White_Space to one space. */
export const whitespace = new RegExp(`[${space}]+`, 'gu')

function pattern(specials: string, s: string, notOther: string): RegExp {
  const contractions = `'${s}|'t|'re|'ve|'m|'ll|'d`
  return new RegExp(`${specials}${contractions}|[\\p{L}]+|[\\p{N}]|[^${space}\\p{L}\\p{N}${notOther}]+`, 'gu')
}

/*
 * OpenAI compiles the pattern with Python's `regex` module and IGNORECASE. Texts are lower-cased before, so what is
 * left of that flag: s also stands for the long s (U+017F), and the last class leaves out U+0345, which folds to a
 * letter: it is dropped. JavaScript's own i flag means something else, so both are written out.
 */
const longS = '[s\\u017f]'
const openai = pattern('', longS, '\\u0345')
const openaiSpecials = pattern(`<\\|${longS}tartoftext\\|>|<\\|endoftext\\|>|`, longS, '\\u0345')
const huggingface = pattern('', 's', '')
const huggingfaceSpecials = pattern('<\\|startoftext\\|>|<\\|endoftext\\|>|', 's', '')

/** The words of a text that cleanOpenai made; with `specials` the special tokens are words of their own. */
export function* openaiWords(text: string, specials: boolean): Generator<string, void, void> {
  for (const match of text.matchAll(specials ? openaiSpecials : openai)) yield match[0]
}

/** The words of a text that cleanHuggingface made. What `specials` cuts off is cut again: ByteLevel splits as well. */
export function* huggingfaceWords(text: string, specials: boolean): Generator<string, void, void> {
  for (const match of text.matchAll(specials ? huggingfaceSpecials : huggingface)) {
    if (match[0] === '<|startoftext|>' || match[0] === '<|endoftext|>')
      yield* huggingfaceWords(match[0], false)
    else yield match[0]
  }
}
