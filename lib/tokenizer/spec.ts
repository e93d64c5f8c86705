/** How a checkpoint's texts become token ids. */

/** How texts become token ids. */
export interface TokenizerSpec {
  /** bpe: byte-level byte pair encoding, as in all of OpenAI's models. */
  kind: 'bpe'
  contextLength: number
  /** Defaults come from the checkpoint's family; OpenAI's cleaning unless the caller says otherwise. */
  family: 'openai' | 'huggingface' | 'openclip'
  /** What `clip.tokenize` pads with; undefined = 0 for OpenAI and OpenCLIP, the end token for Hugging Face. */
  padId?: number
}
