/** From labels and templates to one embedding per class, as open_clip's build_zero_shot_classifier. */

import type { Call } from './calls.js'
import { Embeddings } from './embeddings.js'
import type { Loaded } from './encode.js'
import {
  checkTokenize,
  needTextTower,
  type TokenizeOptions,
  type TokenWindow,
  textsPerWindow,
  tokenWindow,
} from './encode-text.js'
import { argumentError } from './errors.js'
import { listOf } from './options.js'
import { Slices } from './slices.js'
import { isArray } from './values.js'

/** A text with `{}` where the label goes, or a function of the label. */
export type Template = string | ((label: string) => string)

/** A class: its names, and the templates that each of them goes through. */
export interface PromptClass {
  names: readonly string[]
  templates: readonly Template[]
  /** What its templates are called in messages: `templates`, or `labels[2].templates` for its own. */
  field: string
}

interface Prompt {
  text: string
  /** The class it belongs to. */
  owner: number
  template: number
}

export function checkTemplates(value: unknown, name = 'templates'): readonly Template[] {
  const many = isArray(value)
  const list = many ? listOf(name, 'be templates', value) : [value]
  if (list.length === 0) throw argumentError(name, 'have one template or more', value)
  list.forEach((template, i) => {
    const field = many ? `${name}[${i}]` : name
    if (typeof template === 'function') return
    if (typeof template !== 'string')
      throw argumentError(field, 'be a string with {} in it, or a function', template)
    if (!template.includes('{}')) throw argumentError(field, 'have {} where the label goes', template)
  })
  return list as readonly Template[]
}

/**
 * All prompts, those that begin alike next to each other (by template up to `{}`, then by label): native code computes
 * a prefix that texts of one window share once, so few rows are lost where windows are cut.
 */
function* prompts(classes: readonly PromptClass[]): Generator<Prompt> {
  const owners = new Map<readonly Template[], number[]>()
  classes.forEach(({ templates }, owner) => {
    const list = owners.get(templates)
    if (list) list.push(owner)
    else owners.set(templates, [owner])
  })
  for (const [templates, list] of owners) {
    const groups = new Map<string | Template, number[]>()
    templates.forEach((template, i) => {
      const prefix = typeof template === 'string' ? template.slice(0, template.indexOf('{}')) : template
      groups.set(prefix, [...(groups.get(prefix) ?? []), i])
    })
    for (const members of groups.values())
      for (const owner of list)
        for (const name of classes[owner]!.names)
          for (const t of members) {
            const template = templates[t]!
            const text = typeof template === 'string' ? template.replaceAll('{}', () => name) : template(name)
            if (typeof text !== 'string')
              throw argumentError(`${classes[owner]!.field}[${t}]`, 'return a string', text)
            yield { text, owner, template: t }
          }
  }
}

interface PromptWindow extends TokenWindow {
  owners: number[]
}

async function* windows(
  loaded: Loaded,
  classes: readonly PromptClass[],
  tokenize: TokenizeOptions,
  signal: AbortSignal | undefined,
): AsyncGenerator<PromptWindow> {
  const slices = new Slices()
  let window: Prompt[] = []
  const make = async (part: Prompt[]): Promise<PromptWindow> => {
    const name = (i: number) => {
      const { owner, template } = part[i]!
      return `labels[${owner}] in ${classes[owner]!.field}[${template}]`
    }
    const texts = part.map(p => p.text)
    const index = (i: number) => part[i]!.owner
    const tokens = await tokenWindow(loaded, texts, name, index, tokenize, signal, (_, error) => {
      throw error
    })
    return { ...tokens, owners: part.map(p => p.owner) }
  }
  for (const prompt of prompts(classes)) {
    window.push(prompt)
    if (window.length === textsPerWindow) {
      yield make(window)
      window = []
    }
    if (window.length % 64 === 0 && slices.due()) await slices.pause(signal)
  }
  if (window.length > 0) yield make(window)
}

/** (classes, embedDim): for each class the mean of the normalised embeddings of its prompts, normalised again. */
export async function classEmbeddings(
  loaded: Loaded,
  classes: readonly PromptClass[],
  options: TokenizeOptions & {
    signal?: AbortSignal | undefined
    onProgress?: ((progress: { done: number; total: number }) => void) | undefined
  },
): Promise<Embeddings> {
  needTextTower(loaded)
  const tokenize = checkTokenize(options)
  const dim = loaded.spec.embedDim
  const total = classes.reduce((sum, c) => sum + c.names.length * c.templates.length, 0)
  const means = new ClassMeans(classes.length, dim)
  let done = 0
  const work = async (call: Call) => {
    await call.inOrder(
      windows(loaded, classes, tokenize, call.signal),
      async window => {
        const data = await call.submit((model, job) =>
          model.encodeText(job, window.ids, window.lengths, 'embedding', true),
        )
        await means.add(data, window.owners, call.signal)
      },
      window => {
        done += window.owners.length
        options.onProgress?.({ done, total })
      },
    )
    return means.finish(call.signal)
  }
  return loaded.calls.run(options.signal, work)
}

/** For each class the mean of the embeddings that belong to it, of length 1. */
export class ClassMeans {
  // One matrix: the sums grow in place and become the result, so memory stays that of the classes.
  readonly #sums: Float32Array
  readonly #classes: number
  readonly #dim: number

  constructor(classes: number, dim: number) {
    this.#sums = new Float32Array(classes * dim)
    this.#classes = classes
    this.#dim = dim
  }

  /** Rows of (owners, dim): row i belongs to the class owners[i]. */
  async add(rows: Float32Array, owners: readonly number[], signal?: AbortSignal): Promise<void> {
    const dim = this.#dim
    const sums = this.#sums
    const slices = new Slices()
    for (let i = 0; i < owners.length; i++) {
      const at = owners[i]! * dim
      for (let j = 0; j < dim; j++) sums[at + j]! += rows[i * dim + j]!
      if (i % 16 === 15 && slices.due()) await slices.pause(signal)
    }
  }

  async finish(signal?: AbortSignal): Promise<Embeddings> {
    const dim = this.#dim
    const sums = this.#sums
    const slices = new Slices()
    for (let c = 0; c < this.#classes; c++) {
      let square = 0
      for (let j = c * dim; j < (c + 1) * dim; j++) square += sums[j]! ** 2
      const norm = Math.max(Math.sqrt(square), 1e-12)
      for (let j = c * dim; j < (c + 1) * dim; j++) sums[j] = sums[j]! / norm
      if (slices.due()) await slices.pause(signal)
    }
    return new Embeddings(sums, [this.#classes, dim] as const)
  }
}
