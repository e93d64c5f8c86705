/** Computes one embedding per class from labels and templates, as open_clip's build_zero_shot_classifier does. */

import { allocate } from '../base/allocate.js'
import { argumentError } from '../base/errors.js'
import { listOf } from '../base/options.js'
import { inSlices, Slices, type Steps } from '../base/slices.js'
import { isArray } from '../base/values.js'
import type { Call } from '../encode/admission.js'
import { Embeddings } from '../encode/embeddings.js'
import type { Loaded } from '../encode/loaded-model.js'
import {
  checkTokenize,
  needTextTower,
  refusedText,
  type TokenizeOptions,
  type TokenWindow,
  textsPerWindow,
  tokenWindow,
} from '../encode/text.js'
import { longList } from '../tokenizer/long-list.js'
import { Joined } from '../tokenizer/pieces.js'
import { mostCharacters, RefusedText, tooManyCharacters } from '../tokenizer/tokenizer.js'

/** A text with `{}` in place of the label, or a function of the label. */
export type Template = string | ((label: string) => string)

/** A class: its names, and the templates that are applied to each name. */
export interface PromptClass {
  names: readonly string[]
  templates: readonly Template[]
  /** The name of its templates in messages: `templates`, or `labels[2].templates` for its own. */
  field: string
}

interface Prompt {
  text: string
  /** The class it belongs to. */
  owner: number
  template: number
}

/** A checked copy of the templates. */
export function checkTemplates(value: unknown, name = 'templates'): Steps<readonly Template[]> {
  const many = isArray(value)
  const list = many ? listOf(name, 'be templates', value) : [value]
  if (list.length === 0) throw argumentError(name, 'have at least one template', value)
  return (function* () {
    for (const [i, template] of list.entries()) {
      if (i % 64 === 63) yield
      const field = many ? `${name}[${i}]` : name
      if (typeof template === 'string') {
        if (template.length > mostCharacters) throw refusedText(field, tooManyCharacters(template.length))
        if (!template.includes('{}')) throw argumentError(field, 'contain {} in place of the label', template)
      } else if (typeof template !== 'function')
        throw argumentError(field, 'be a string that contains {}, or a function', template)
    }
    return list as readonly Template[]
  })()
}

/** Replaces every `{}` of the template by the name. A text that would be too long is refused before it is built. */
function* fillIn(template: string, name: string): Steps<string> {
  let places = 0
  for (let at = template.indexOf('{}'); at >= 0; at = template.indexOf('{}', at + 2))
    if (++places % 256 === 0) yield
  const length = template.length + places * (name.length - 2)
  if (length > mostCharacters) throw tooManyCharacters(length)
  const text = new Joined()
  let from = 0
  for (let at = template.indexOf('{}'); at >= 0; at = template.indexOf('{}', from)) {
    text.add(template.slice(from, at))
    text.add(name)
    from = at + 2
    if (--places % 256 === 0) yield
  }
  return text.end(template.slice(from))
}

/**
 * Classes that share templates, as a linked list from `first` by `next` to `last`; and groups of templates that have the same
 * text before the label.
 */
interface Group {
  templates: readonly Template[]
  first: number
  last: number
  members: number[][]
}

function* groupsOf(classes: readonly PromptClass[]): Steps<{ groups: Group[]; next: Int32Array }> {
  const byTemplates = new Map<readonly Template[], Group>()
  // A linked list, because an array for each group would be copied as it grows.
  const next = longList(classes.length)
  for (const [owner, { templates }] of classes.entries()) {
    const group = byTemplates.get(templates)
    if (group) {
      next[group.last] = owner
      group.last = owner
    } else byTemplates.set(templates, { templates, first: owner, last: owner, members: [] })
    if (owner % 256 === 255) yield
  }
  const groups: Group[] = []
  for (const group of byTemplates.values()) {
    const alike = new Map<string | Template, number[]>()
    for (const [i, template] of group.templates.entries()) {
      const prefix = typeof template === 'string' ? template.slice(0, template.indexOf('{}')) : template
      const members = alike.get(prefix)
      if (members) members.push(i)
      else {
        const begun = [i]
        alike.set(prefix, begun)
        group.members.push(begun)
      }
      if (i % 64 === 63) yield
    }
    groups.push(group)
    yield
  }
  return { groups, next }
}

/** Turns steps into pauses (undefined) between values. */
function* pausing<T>(steps: Steps<T>): Generator<undefined, T, void> {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
    yield undefined
  }
}

/**
 * All prompts, ordered so that those with a common beginning are adjacent (by template up to `{}`, then by label). Native code
 * computes the shared prefixes of a window's texts once, so little work is repeated at the boundaries of windows. A pause is
 * yielded as undefined.
 */
function* prompts(classes: readonly PromptClass[]): Generator<Prompt | undefined, void, void> {
  const { groups, next } = yield* pausing(groupsOf(classes))
  for (const { templates, first, last, members } of groups)
    for (const alike of members)
      for (let owner = first; owner >= 0; owner = owner === last ? -1 : next[owner]!)
        for (const name of classes[owner]!.names)
          for (const t of alike) {
            const template = templates[t]!
            try {
              const text =
                typeof template === 'string' ? yield* pausing(fillIn(template, name)) : template(name)
              if (typeof text !== 'string')
                throw argumentError(`${classes[owner]!.field}[${t}]`, 'return a string', text)
              yield { text, owner, template: t }
            } catch (error) {
              if (!(error instanceof RefusedText)) throw error
              throw refusedText(promptName(classes, owner, t), error, owner)
            }
          }
}

/** The name of a prompt in messages. */
const promptName = (classes: readonly PromptClass[], owner: number, template: number): string =>
  `labels[${owner}] in ${classes[owner]!.field}[${template}]`

interface PromptWindow extends TokenWindow {
  owners: number[]
}

/** Characters of prompts in memory at a time. */
const charactersPerWindow = 1 << 22

async function* windows(
  loaded: Loaded,
  classes: readonly PromptClass[],
  tokenize: TokenizeOptions,
  signal: AbortSignal | undefined,
): AsyncGenerator<PromptWindow> {
  const slices = new Slices()
  let window: Prompt[] = []
  let characters = 0
  const make = async (part: Prompt[]): Promise<PromptWindow> => {
    const name = (i: number) => promptName(classes, part[i]!.owner, part[i]!.template)
    const texts = part.map(p => p.text)
    const index = (i: number) => part[i]!.owner
    const tokens = await tokenWindow(loaded, texts, name, index, tokenize, signal, (_, error) => {
      throw error
    })
    return { ...tokens, owners: part.map(p => p.owner) }
  }
  for (const prompt of prompts(classes)) {
    if (slices.due()) await slices.pause(signal)
    if (!prompt) continue
    window.push(prompt)
    characters += prompt.text.length
    if (window.length === textsPerWindow || characters > charactersPerWindow) {
      yield make(window)
      window = []
      characters = 0
    }
  }
  if (window.length > 0) yield make(window)
}

function* countPrompts(classes: readonly PromptClass[]): Steps<number> {
  let total = 0
  for (const [i, { names, templates }] of classes.entries()) {
    total += names.length * templates.length
    if (i % 1024 === 1023) yield
  }
  return total
}

/** (classes, embedDim): for each class the mean of the normalized embeddings of its prompts, normalized again. */
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
  const means = new ClassMeans(classes.length, dim)
  let done = 0
  const work = async (call: Call) => {
    const total = await inSlices(countPrompts(classes), call.signal)
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
  // A single matrix: sums are accumulated in place and become the result, so only the classes take memory.
  readonly #sums: Float32Array
  readonly #classes: number
  readonly #dim: number

  constructor(classes: number, dim: number) {
    this.#sums = allocate(Float32Array, 'the embeddings of the labels', classes, dim)
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
