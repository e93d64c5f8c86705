/** Describes how texts become token ids: a family of checkpoints fills in the description, and a kind of tokenizer follows it. */

/** The kinds, which index.ts lists. */
export type TokenizerSpec = ClipTokenizerSpec | FileTokenizerSpec

/** Byte-level byte pair encoding with `</w>` at the ends of words, as in all of OpenAI's models. */
export interface ClipTokenizerSpec {
  kind: 'bpe'
  contextLength: number
  /** Defaults come from the checkpoint's family; OpenAI's cleaning unless the caller says otherwise. */
  family: 'openai' | 'huggingface' | 'openclip'
  /** What `clip.tokenize` pads with; undefined = 0 for OpenAI and OpenCLIP, the end token for Hugging Face. */
  padId?: number
}

/**
 * Tokenizer classes of transformers 5. Each builds its own pipeline from a vocabulary, whatever else the vocabulary's file
 * contains.
 */
export const tokenizerClasses = [
  /** Unigram, `</s>` at the end: SigLIP in OpenCLIP's layout, mT5. */
  'T5Tokenizer',
  /** The same vocabulary read by SentencePiece itself, with SigLIP's own lower-casing and punctuation: SigLIP in Hugging Face's layout. */
  'SiglipTokenizer',
  /** Unigram between `<s>` and `</s>`. */
  'XLMRobertaTokenizer',
  /** Byte pair encoding over characters, with bytes for unknown characters: SigLIP 2. */
  'GemmaTokenizer',
  /** The same, in lower case. */
  'Siglip2Tokenizer',
  /** Byte pair encoding over characters, beginning with a language code. */
  'NllbTokenizer',
  /** WordPiece between `[CLS]` and `[SEP]`. */
  'BertTokenizer',
  /** Byte-level byte pair encoding between `<s>` and `</s>`. */
  'RobertaTokenizer',
  /** The pipeline that tokenizer.json describes. */
  'PreTrainedTokenizerFast',
] as const
export type TokenizerClass = (typeof tokenizerClasses)[number]

/** The vocabulary of a file, read as a class of transformers reads it. */
export interface FileTokenizerSpec {
  kind: 'file'
  /** tokenizer.json, a SentencePiece model (*.model), or vocab.txt. tokenizer_config.json beside it is read too. */
  file: string
  class: TokenizerClass
  contextLength: number
  /**
   * The cleaning of a text before the class's own pipeline: OpenCLIP's 'whitespace' (repairs text, decodes entities,
   * collapses white space), 'lower' (the same, in lower case) or 'canonicalize' (the same without ASCII punctuation, in lower
   * case); 'none' in Hugging Face's layout.
   */
  cleaning: 'none' | 'whitespace' | 'lower' | 'canonicalize'
  /** What `clip.tokenize` pads with; undefined = the class's pad token. (A tower that attends to pads has its own `embed.padId`.) */
  padId?: number
  /** CLIPA: every [SEP] becomes 0. */
  stripSeparators?: boolean
  /** NLLB: the language code, 'eng_Latn' unless the file says otherwise. */
  language?: string
}
