/** OpenAI's archives, and OpenCLIP's weights without a configuration: tensors and options determine everything. */

import { readOpenaiLayout } from '../openai-layout.js'
import { inputSize, openaiPreprocess } from '../processor.js'
import type { Family } from './family.js'

export const openai: Family = {
  recognise: ({ layout }) => layout === 'openai',
  async read({ table, options }) {
    const { model, family } = await readOpenaiLayout(table, options)
    return {
      model,
      preprocess: openaiPreprocess(inputSize(model)),
      tokenizer: { kind: 'bpe', contextLength: model.text?.embed.contextLength ?? 0, family },
      family,
      ignored: table.ignored,
    }
  },
}
