/** The interface of tokenizers for the rest of the package. index.ts creates them. */

import { ClipError } from '../base/errors.js'

/** How texts become token ids. Options of every call that takes texts. */
export interface TokenizeOptions {
  /** Cut texts that are too long (the end token is kept) instead of rejecting with ERR_CLIP_TEXT_TOO_LONG. */
  truncate?: boolean
  /**
   * 'openai': ftfy, double HTML unescape, whitespace, lower-casing, as openai/CLIP. 'huggingface': as CLIPTokenizerFast. For
   * vocabularies of other kinds, 'huggingface' means the tokenizer of transformers alone; by default texts are cleaned as by
   * the checkpoint's own library.
   */
  cleaning?: 'openai' | 'huggingface'
  /**
   * 'text': `<|endoftext|>` in a text is treated as characters. 'parse': it becomes the special token. The default is 'text'
   * for OpenAI's byte pair encoding and 'parse' for vocabularies of other kinds, as in their original libraries.
   */
  specialTokens?: 'text' | 'parse'
}

/** Ids of one text, special tokens included, not padded. */
export interface Encoded {
  /** [start, ..., end], at most contextLength long. */
  ids: number[]
  truncated: boolean
  /** Length before truncation. */
  tokens: number
  /** Why the text was not tokenised at all: a limit of this package, whatever `truncate` says. */
  refused?: RefusedText
}

/** Characters (UTF-16 code units) that a text may have; those of prompts are counted after the label is put in. */
export const mostCharacters = 1_000_000

/** A text that exceeds a limit of this package. Code that knows the name of the argument turns it into a ClipError. */
export class RefusedText extends Error {
  constructor(
    /** What the text must do, for "Expected ... to". */
    readonly expected: string,
    readonly actual: string,
  ) {
    super(`Expected the text to ${expected}, got ${actual}`)
  }
}

export const tooManyCharacters = (actual: number): RefusedText =>
  new RefusedText(`have at most ${mostCharacters} characters`, `${actual}`)

/** The error for a text with more tokens than the model's context. */
export const tooManyTokens = (index: number | undefined, tokens: number, contextLength: number): ClipError =>
  new ClipError(
    'ERR_CLIP_TEXT_TOO_LONG',
    `${index === undefined ? 'The text' : `texts[${index}]`} has ${tokens} tokens, start and end included, but the model's context is ${contextLength}. Pass \`truncate: true\` to cut it.`,
    {
      expected: `at most ${contextLength} tokens`,
      actual: `${tokens} tokens`,
      ...(index === undefined ? {} : { index }),
    },
  )

/** The error that a tokenizer's `encode` throws for a refused text. */
export const refusal = (why: RefusedText, index: number | undefined): ClipError =>
  new ClipError('ERR_CLIP_TEXT_TOO_LONG', why.message, {
    expected: why.expected,
    actual: why.actual,
    ...(index === undefined ? {} : { index }),
  })

export interface Tokenizer {
  readonly vocabSize: number
  readonly contextLength: number
  readonly startId: number
  readonly endId: number
  /** The id with which `clip.tokenize` pads: 0 for OpenAI, the pad token for Hugging Face configurations. */
  readonly padId: number
  /** Throws ClipError ERR_CLIP_TEXT_TOO_LONG (with the token count, and `index`) unless truncate, and for a refused text. */
  encode(text: string, options?: TokenizeOptions, index?: number): Encoded
  /**
   * Encodes many texts in slices of at most 1 ms of the JavaScript thread, between which the event loop runs, whatever the texts
   * are. A refused text has `refused` and no ids.
   * Rejects like encode (with the text's `index`), or with `signal.reason`.
   */
  encodeAll(texts: readonly string[], options?: TokenizeOptions, signal?: AbortSignal): Promise<Encoded[]>
  /** The text of ids, as OpenAI's decode: special tokens are spelt out, each word is followed by a space. RangeError for an id of no piece. */
  decode(ids: ArrayLike<number>): string
}
