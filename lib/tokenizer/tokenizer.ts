/** The tokenizer as the rest of the package sees it. index.ts makes one. */

export interface TokenizeOptions {
  /** Cut texts that are too long (the end token is kept) instead of rejecting with ERR_CLIP_TEXT_TOO_LONG. */
  truncate?: boolean
  /** 'openai': ftfy, double HTML unescape, whitespace, lower-casing, as openai/CLIP. 'huggingface': as CLIPTokenizerFast. */
  cleaning?: 'openai' | 'huggingface'
  /** 'text' (default): `<|endoftext|>` in a text is ordinary characters. 'parse': it becomes the special token. */
  specialTokens?: 'text' | 'parse'
}

/** Ids of one text, special tokens included, not padded. */
export interface Encoded {
  /** [start, ..., end], at most contextLength long. */
  ids: number[]
  truncated: boolean
  /** Length before truncation. */
  tokens: number
}

export interface Tokenizer {
  readonly vocabSize: number
  readonly contextLength: number
  readonly startId: number
  readonly endId: number
  /** What `clip.tokenize` pads with: 0 for OpenAI, the pad token for Hugging Face configs. */
  readonly padId: number
  /** Throws ClipError ERR_CLIP_TEXT_TOO_LONG (with the token count, and `index`) unless truncate. */
  encode(text: string, options?: TokenizeOptions, index?: number): Encoded
  /**
   * Encodes many texts in slices of at most 1 ms of the JavaScript thread, the event loop turning in between.
   * Rejects like encode (with the text's `index`), or with `signal.reason`.
   */
  encodeAll(texts: readonly string[], options?: TokenizeOptions, signal?: AbortSignal): Promise<Encoded[]>
  /** The text of ids, as OpenAI's decode: special tokens are spelt out, each word is followed by a space. RangeError for an id of no piece. */
  decode(ids: ArrayLike<number>): string
}
