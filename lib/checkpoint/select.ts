/**
 * Selects the tensors of the model in a file. Training code may put a CLIP model below any prefix (`state_dict.module.`,
 * `model.`, `clip_model.`), beside optimizers, averaged copies and other heads. Towers are recognised by the names inside them.
 */

import { inSlices, type Steps } from '../base/slices.js'
import { badCheckpoint, type Pace, quote } from './errors.js'
import type { Tower } from './options.js'
import type { FoundTensor, TensorTable } from './tensors.js'

export type Layout = 'huggingface' | 'openai'

/** Parts of names that wrapper modules add (compile, data parallelism, checkpointing), which are ignored. */
const WRAPPERS = new Set(['_orig_mod', 'module', '_fsdp_wrapped_module', '_checkpoint_wrapped_module'])
/** Names of averaged weights (over training steps) that training code saves beside the weights. */
const AVERAGED = /(^|_)(ema|shadow|swa|averaged|avg)(_|$)/i

/** The top-level names of each tower, without the prefix of the tower. */
const INSIDE: Record<Layout, Record<Tower, RegExp>> = {
  huggingface: {
    image: /^(embeddings|encoder|pre_layrnorm|post_layernorm|head)\./,
    text: /^(embeddings|encoder|final_layer_norm|head|roberta|pre_LN|transformation|pooler)\./,
  },
  openai: {
    image:
      /^(class_embedding$|positional_embedding$|proj$|(conv1|conv2|conv3|bn1|bn2|bn3|ln_pre|ln_post|transformer|attnpool|layer[1-4]|trunk|head)\.)/,
    text: /^(positional_embedding$|text_projection(\.|$)|(token_embedding|transformer|ln_final|proj)\.)/,
  },
}
/** The prefix of each tower. OpenAI's text tower has none, that of OpenCLIP's CustomTextCLIP has `text`. */
const OWN_NAME: Record<Layout, Record<Tower, string>> = {
  huggingface: { image: 'vision_model.', text: 'text_model.' },
  openai: { image: 'visual.', text: 'text.' },
}

/** Maximum number of candidates that are compared with each other. */
const MOST_MODELS = 8
/** Names per step. */
const PER_STEP = 64
/** Tensors of both towers, which may be outside them if the towers are separate modules. */
const SHARED = /^(logit_scale|logit_bias|visual_projection\.weight|text_projection(\.weight)?)$/

interface FoundTower {
  layout: Layout
  tower: Tower
  /** The prefix of the names of INSIDE. */
  prefix: string
  /** The prefix of OWN_NAME, or of INSIDE if the tower's own name is missing. */
  base: string
}

interface Candidate {
  layout: Layout
  base: string
  image?: FoundTower
  text?: FoundTower
}

/** A name without its wrappers. */
const bare = (name: string): string =>
  /(^|\.)(_|module\.)/.test(name)
    ? name
        .split('.')
        .filter(part => !WRAPPERS.has(part))
        .join('.')
    : name

/** The file's tensors by names without wrappers; a name that would then occur twice is not changed. */
function* withoutWrappers(table: TensorTable): Steps<Map<string, FoundTensor>> {
  const names = new Map<string, FoundTensor>()
  for (const [name, tensor] of table.found) {
    if (names.size % PER_STEP === PER_STEP - 1) yield
    const short = bare(name)
    const other = names.get(short)
    if (other && other.same !== tensor.same) return table.found
    if (!other) names.set(short, tensor)
  }
  return names
}

/** The tower that a tensor belongs to, according to its name. */
function towerAt(name: string, has: (name: string) => boolean): FoundTower | undefined {
  const found = (layout: Layout, tower: Tower, tail: string): FoundTower | undefined => {
    if (name !== tail && !name.endsWith(`.${tail}`)) return undefined
    const prefix = name.slice(0, name.length - tail.length)
    const own = OWN_NAME[layout][tower]
    const named = prefix === own || prefix.endsWith(`.${own}`)
    return { layout, tower, prefix, base: named ? prefix.slice(0, -own.length) : prefix }
  }
  const own = (tower: FoundTower | undefined, ...others: string[]) =>
    tower && (tower.prefix !== tower.base || others.some(other => has(tower.prefix + other)))
      ? tower
      : undefined
  return (
    found('huggingface', 'image', 'embeddings.patch_embedding.weight') ??
    own(
      found('huggingface', 'text', 'embeddings.token_embedding.weight'),
      'embeddings.position_embedding.weight',
    ) ??
    own(found('huggingface', 'text', 'roberta.embeddings.word_embeddings.weight')) ??
    own(found('huggingface', 'text', 'embeddings.word_embeddings.weight')) ??
    own(found('openai', 'image', 'conv1.weight'), 'class_embedding', 'attnpool.positional_embedding') ??
    own(found('openai', 'image', 'trunk.patch_embed.proj.weight')) ??
    own(found('openai', 'image', 'trunk.stem.0.weight')) ??
    own(found('openai', 'image', 'trunk.patch_embed.backbone.0.conv.weight')) ??
    own(found('openai', 'text', 'transformer.embeddings.word_embeddings.weight')) ??
    own(found('openai', 'text', 'transformer.embed_tokens.weight')) ??
    own(found('openai', 'text', 'token_embedding.weight'), 'positional_embedding', 'ln_final.weight')
  )
}

function* candidates(names: ReadonlyMap<string, FoundTensor>): Steps<Candidate[]> {
  const found = new Map<string, Candidate>()
  const has = (name: string) => names.has(name)
  let work = 0
  for (const name of names.keys()) {
    if (++work % PER_STEP === 0) yield
    const tower = towerAt(name, has)
    if (!tower) continue
    const key = `${tower.layout} ${tower.base}`
    const candidate = found.get(key) ?? { layout: tower.layout, base: tower.base }
    candidate[tower.tower] ??= tower
    found.set(key, candidate)
  }
  return [...found.values()]
}

/** Whether all tensors of the towers of `other` are the same bytes of the file as tensors of `main`. */
function* isAlias(
  main: Candidate,
  other: Candidate,
  names: ReadonlyMap<string, FoundTensor>,
): Steps<boolean> {
  if (main.layout !== other.layout) return false
  for (const which of ['image', 'text'] as const) {
    const [from, to] = [other[which]?.prefix, main[which]?.prefix]
    if (from === undefined) continue
    if (to === undefined) return false
    let work = 0
    for (const [name, tensor] of names) {
      if (++work % PER_STEP === 0) yield
      if (!name.startsWith(from) || !INSIDE[other.layout][which].test(name.slice(from.length))) continue
      if (names.get(to + name.slice(from.length))?.same !== tensor.same) return false
    }
  }
  return true
}

const isWhole = (candidate: Candidate) => candidate.image !== undefined && candidate.text !== undefined
const isAveraged = ({ base }: Candidate) => base.split('.').some(part => AVERAGED.test(part))
const nameOf = ({ base }: Candidate) => (base === '' ? '(top)' : base.slice(0, -1))

function describe(candidate: Candidate): string {
  const towers = isWhole(candidate) ? 'both towers' : candidate.image ? 'the image tower' : 'the text tower'
  return `${quote(nameOf(candidate))} (${towers})`
}

/** The first few of them, for a message. */
function listed(all: readonly Candidate[]): string {
  const more = all.length - 4
  return all.slice(0, 4).map(describe).join(', ') + (more > 0 ? ` and ${more} more` : '')
}

/** The only model in the file; otherwise throws an error that lists the models and says how to choose one. */
function* choose(
  all: Candidate[],
  names: ReadonlyMap<string, FoundTensor>,
  where: string,
  wanted?: string,
): Steps<Candidate> {
  if (wanted !== undefined) {
    const inside = wanted === '(top)' ? '' : bare(wanted)
    const path = inside === '' ? '' : `${inside}.`
    const exact = all.filter(({ base }) => base === path)
    const below = exact.length > 0 ? exact : all.filter(({ base }) => base.startsWith(path))
    if (below.length === 0)
      throw badCheckpoint(
        where,
        'stateDict',
        `has no CLIP model at ${quote(wanted)}, which the option \`stateDict\` names; it has ${listed(all)}`,
        { expected: all.map(nameOf).join(' or ').slice(0, 200), actual: wanted.slice(0, 80) },
      )
    return yield* choose(below, names, where)
  }
  const weights = all.filter(candidate => !isAveraged(candidate))
  let pool = weights.length > 0 && (weights.some(isWhole) || !all.some(isWhole)) ? weights : all
  // Complete models first, because a wrapper may hold a tower of the model a second time under another name.
  pool.sort((a, b) => Number(isWhole(b)) - Number(isWhole(a)))
  if (pool.length <= MOST_MODELS) {
    const different: Candidate[] = []
    for (const one of pool) {
      let isCopy = false
      for (const main of different) isCopy ||= yield* isAlias(main, one, names)
      if (!isCopy) different.push(one)
    }
    pool = different
  }
  const whole = pool.filter(isWhole)
  if (whole.length === 1 && (weights.length === 0 || weights.some(isWhole))) return whole[0]!
  if (pool.length === 1) return pool[0]!
  const [image, text] = [pool.filter(one => one.image), pool.filter(one => one.text)]
  // One candidate has the image tower and another the text tower: the model has separate modules.
  if (whole.length === 0 && image.length === 1 && text.length === 1 && image[0]!.layout === text[0]!.layout)
    return { ...image[0]!, ...text[0]!, image: image[0]!.image!, text: text[0]!.text! }
  throw badCheckpoint(
    where,
    'stateDict',
    `contains more than one CLIP model: ${listed(pool)}. Choose one with the option \`stateDict: ${JSON.stringify(nameOf(pool[0]!).slice(0, 80))}\` (\`--state-dict\` on the command line)`,
    { expected: 'one CLIP', actual: pool.map(nameOf).join(', ').slice(0, 200) },
  )
}

/** The common prefix: `a.b.` for `a.b.c.` and `a.b.d.`. */
function commonParent(bases: readonly string[]): string {
  const [first, ...others] = bases.map(base => base.split('.').slice(0, -1))
  const same = first!.findIndex((part, i) => others.some(other => other[i] !== part))
  const parts = same < 0 ? first! : first!.slice(0, same)
  return parts.map(part => `${part}.`).join('')
}

/** The name of a tensor in its layout, or undefined if it does not belong to the model. */
function renamed(name: string, { layout, base, image, text }: Candidate): string | undefined {
  const bases = [base]
  for (const tower of [image, text]) {
    if (!tower) continue
    if (tower.prefix === tower.base && !(layout === 'openai' && tower.tower === 'text')) {
      const rest = name.startsWith(tower.prefix) ? name.slice(tower.prefix.length) : undefined
      if (rest !== undefined && INSIDE[layout][tower.tower].test(rest))
        return OWN_NAME[layout][tower.tower] + rest
    }
    if (!bases.includes(tower.base)) bases.push(tower.base)
  }
  const common = commonParent(bases)
  if (name.startsWith(common) && SHARED.test(name.slice(common.length))) return name.slice(common.length)
  const under = bases.filter(one => name.startsWith(one)).sort((a, b) => b.length - a.length)[0]
  return under === undefined ? undefined : name.slice(under.length)
}

/** Why no model was found: names the kinds of models that the weights may belong to. */
function* nothing(table: TensorTable): Steps<Error> {
  const first: string[] = []
  let timm: string | undefined
  let lora: string | undefined
  let work = 0
  for (const name of table.found.keys()) {
    if (++work % PER_STEP === 0) yield
    if (first.length < 3) first.push(name)
    if (/(^|\.)visual\.trunk\./.test(name)) timm ??= name
    else if (/\.lora_[AB]\.|\.lora_(up|down)\./.test(name)) lora ??= name
  }
  const some = first.join(', ').slice(0, 300)
  const why = timm
    ? `: ${quote(timm)} belongs to an image tower of timm that is not implemented; docs/checkpoints.md lists the models that are`
    : lora
      ? `: ${quote(lora)} belongs to an adapter (LoRA) without its model: merge it into the model in Python (\`model.merge_and_unload()\`) and save that`
      : `: there are neither visual.* nor vision_model.* tensors, nor those of a text tower (${some || 'none at all'})`
  return badCheckpoint(table.where, undefined, `contains no CLIP model${why}`)
}

/**
 * Selects the model among all tensors of the files, and looks up where its tensors are stored. `stateDict` is the caller's
 * choice if a file has more than one model.
 */
export async function selectModel(table: TensorTable, pace: Pace, stateDict?: string): Promise<Layout> {
  const names = await inSlices(withoutWrappers(table), pace.signal)
  const all = await inSlices(candidates(names), pace.signal)
  if (all.length === 0) throw await inSlices(nothing(table), pace.signal)
  const chosen = await inSlices(choose(all, names, table.where, stateDict), pace.signal)
  pace.restart()
  const used: [string, FoundTensor][] = []
  const ignored: string[] = []
  let work = 0
  for (const [name, tensor] of names) {
    const short = renamed(name, chosen)
    if (short === undefined) ignored.push(tensor.name)
    else used.push([short, tensor])
    if ((++work & 127) === 0 && pace.spent()) await pace.turn()
  }
  // A few at a time: libuv has four threads, and each local header of an archive needs a read.
  for (let from = 0; from < used.length; from += 16) {
    const placed = await Promise.all(
      used.slice(from, from + 16).map(async ([short, tensor]) => [short, await tensor.place()] as const),
    )
    for (const [short, tensor] of placed)
      if (!table.tensors.has(short) || tensor.name === short) table.tensors.set(short, tensor)
    pace.restart()
  }
  table.base = chosen.base
  table.ignore(ignored)
  table.ignore([...table.others.keys()].filter(name => !name.includes('.')))
  return chosen.layout
}
