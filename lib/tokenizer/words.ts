/** How a cleaned text falls into words: CLIP's pattern, with and without the two special tokens. */

/*
 * The original compiles this pattern with Python's `regex` module and IGNORECASE. Written out here without the flag:
 * texts are lower-cased before, and what remains of IGNORECASE is that s also stands for U+017F (long s).
 * `space` is Unicode's White_Space, as in `regex` and Oniguruma; JavaScript's \s lacks U+0085 and has U+FEFF.
 */
const space = '\\u0009-\\u000d\\u0020\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000'
const contractions = "'[sS\\u017f]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
const rest = `${contractions}|[\\p{L}]+|[\\p{N}]|[^${space}\\p{L}\\p{N}]+`
const long = '[sS\\u017f]'
const special = `<\\|${long}tartofte[xX]t\\|>|<\\|endofte[xX]t\\|>`

const plain = new RegExp(rest, 'gu')
const withSpecials = new RegExp(`${special}|${rest}`, 'gu')

/** The words of a cleaned text, in order. */
export function* words(text: string, specials: boolean): Generator<string, void, void> {
  for (const match of text.matchAll(specials ? withSpecials : plain)) yield match[0]
}

/** Collapses runs of White_Space to one space. */
export const whitespace = new RegExp(`[${space}]+`, 'gu')
