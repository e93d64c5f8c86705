// Writes lib/classifier/templates.generated.ts from scripts/data/templates.json: node scripts/make-templates.mjs
import { readFileSync, writeFileSync } from 'node:fs'

const { imagenet80, imagenet7 } = JSON.parse(
  readFileSync(new URL('data/templates.json', import.meta.url), 'utf8'),
)
const list = templates => `[\n${templates.map(t => `    ${JSON.stringify(t)},\n`).join('')}  ]`
writeFileSync(
  new URL('../lib/classifier/templates.generated.ts', import.meta.url),
  `// Made by scripts/make-templates.mjs from scripts/data/templates.json. Prompts: openai/CLIP, MIT, Copyright (c) 2021 OpenAI.

/** Sets of prompt templates; \`{}\` stands for the label. */
export const templates: {
  /** The 80 prompts of the CLIP paper's ImageNet ensemble. */
  readonly imagenet80: readonly string[]
  /** The 7 of these that a search selected. */
  readonly imagenet7: readonly string[]
  /** One prompt: "a photo of a {}." */
  readonly simple: readonly string[]
} = {
  imagenet80: ${list(imagenet80)},
  imagenet7: ${list(imagenet7)},
  simple: ['a photo of a {}.'],
}
`,
)
