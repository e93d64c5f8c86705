/** Labels as callers pass them, and the prompts that they stand for. */

import { argumentError } from '../base/errors.js'
import { checkOptions, listOf } from '../base/options.js'
import type { Steps } from '../base/slices.js'
import { isArray, isObject } from '../base/values.js'
import { checkTemplates, type PromptClass, type Template } from './prompts.js'

/** A class with names or templates of its own. */
export interface DescribedLabel<T extends string = string> {
  /** The label in predictions. */
  label: T
  /** Its name or names in prompts; default: the label. */
  names?: string | readonly string[]
  /** Templates of this class; default: those of the call. */
  templates?: Template | readonly Template[]
}

/** One class: its name, or several names of it (its predictions then carry the first), or {@link DescribedLabel}. */
export type Label = string | readonly string[] | DescribedLabel

/** The label that predictions of this class carry. */
export type LabelOf<L extends Label> = L extends string
  ? L
  : L extends readonly [infer First extends string, ...unknown[]]
    ? First
    : L extends DescribedLabel<infer T>
      ? T
      : string

export interface LabelledClass extends PromptClass {
  label: string
}

function checkNames(field: string, value: unknown, expected: string): readonly string[] {
  const list = isArray(value) ? listOf(field, expected, value) : [value]
  const bad = list.findIndex(name => typeof name !== 'string')
  if (list.length === 0 || bad >= 0)
    throw argumentError(field, expected, list.length === 0 ? value : list[bad])
  return list as readonly string[]
}

function* checkLabel(label: unknown, field: string, shared: readonly Template[]): Steps<LabelledClass> {
  if (!isObject(label) || isArray(label)) {
    const names = checkNames(field, label, 'be a string, an array of strings, or { label, names, templates }')
    return { label: names[0]!, names, templates: shared, field: 'templates' }
  }
  const own = checkOptions(label as unknown as DescribedLabel, ['label', 'names', 'templates'], field)
  if (typeof own.label !== 'string') throw argumentError(`${field}.label`, 'be a string', own.label)
  const names = checkNames(`${field}.names`, own.names ?? own.label, 'be a string or an array of strings')
  if (own.templates === undefined) return { label: own.label, names, templates: shared, field: 'templates' }
  const at = `${field}.templates`
  return { label: own.label, names, templates: yield* checkTemplates(own.templates, at), field: at }
}

/** The classes of a call. Classes without templates of their own share one array, which is how they are recognised. */
export function checkLabels(labels: unknown, templates: unknown): Steps<LabelledClass[]> {
  const list = listOf('labels', 'be an array of at least one label', labels)
  if (list.length === 0) throw argumentError('labels', 'be an array of at least one label', labels)
  const shared = checkTemplates(templates ?? '{}')
  return (function* () {
    const checked = yield* shared
    // In place: a second list of a million elements would take memory and be allocated in a single turn of the event loop.
    for (let i = 0; i < list.length; i++) {
      list[i] = yield* checkLabel(list[i], `labels[${i}]`, checked)
      if (i % 64 === 63) yield
    }
    return list as LabelledClass[]
  })()
}
