/** `clip.tokenize`: ids as OpenAI's `clip.tokenize` returns them. */

import { allocate } from '../base/allocate.js'
import { argumentError } from '../base/errors.js'
import { checkOptions, checkSignal } from '../base/options.js'
import { Slices } from '../base/slices.js'
import type { Loaded } from './loaded-model.js'
import {
  checkTexts,
  checkTokenize,
  needTextTower,
  refusedText,
  type TokenizeOptions,
  textName,
  textsPerWindow,
  tokenizeOptionNames,
  tooLong,
} from './text.js'

/** Token ids of texts, as OpenAI's `clip.tokenize` returns them. */
export interface Tokens {
  /** (n, contextLength), padded with the vocabulary's padding id. */
  ids: Int32Array
  /** [n, contextLength]. */
  shape: [n: number, contextLength: number]
  /** Tokens of each text, start and end included, without padding. */
  lengths: Int32Array
  /** For each text, whether it was truncated (only with `truncate: true`). */
  truncated: boolean[]
}

export async function tokenize(
  loaded: Loaded,
  input: string | readonly string[],
  options: (TokenizeOptions & { signal?: AbortSignal }) | undefined,
): Promise<Tokens> {
  const o = checkOptions(options, [...tokenizeOptionNames, 'signal'])
  const signal = checkSignal(o.signal)
  const checked = checkTokenize(o)
  loaded.calls.throwIfDisposed()
  const tokenizer = needTextTower(loaded)
  const { texts, single } = checkTexts(input)
  const context = tokenizer.contextLength
  const ids = allocate(Int32Array, 'the token ids', texts.length, context)
  const lengths = allocate(Int32Array, 'the numbers of tokens', texts.length)
  const truncated: boolean[] = []
  const slices = new Slices()
  for (let first = 0; first < texts.length; first += textsPerWindow) {
    const window = texts.slice(first, first + textsPerWindow)
    window.forEach((text, i) => {
      if (typeof text !== 'string') throw argumentError(textName(single, first + i), 'be a string', text)
    })
    const encoded = await tokenizer.encodeAll(window, { ...checked, truncate: true }, signal)
    for (const [i, one] of encoded.entries()) {
      if (one.refused)
        throw refusedText(textName(single, first + i), one.refused, single ? undefined : first + i)
      if (one.truncated && !checked.truncate)
        throw tooLong(textName(single, first + i), one.tokens, context, single ? undefined : first + i)
      const at = (first + i) * context
      ids.set(one.ids, at)
      ids.fill(tokenizer.padId, at + one.ids.length, at + context)
      lengths[first + i] = one.ids.length
      truncated.push(one.truncated)
      if (i % 64 === 63 && slices.due()) await slices.pause(signal)
    }
  }
  return { ids, shape: [texts.length, context], lengths, truncated }
}
