/** The options that say which labels and templates a command uses. */

import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { argumentError, ClipError } from '../base/errors.js'
import { oneOf } from '../base/options.js'
import type { DatasetOptions } from '../eval/dataset.js'
import { type Label, type PromptSetName, promptSet, templates } from '../index.js'

export interface LabelOptions {
  labels?: string
  labelsFile?: string
  template?: string[]
  templates?: string
  promptSet?: string
}

const collect = (value: string, before: string[] | undefined) => [...(before ?? []), value]

export function withLabels(command: Command): Command {
  return command
    .option('--labels <a,b,c>', 'labels, with commas between them')
    .option('--labels-file <file>', 'labels, one a line; several names of a label with tabs between them')
    .option('--template <text>', 'text around a label, "an icon of {}"; several are averaged', collect)
    .option('--templates <name>', "CLIP's prompts for ImageNet: imagenet80, imagenet7 or simple")
    .option(
      '--prompt-set <name>',
      "labels and prompts of one of the paper's data sets: CIFAR10, Food101, ...",
    )
}

/** How a command reads a data set. */
export interface DatasetCommand {
  followLinks?: boolean
  classNames?: string
}

export function withDataset(command: Command): Command {
  return command
    .option('--follow-links', 'follow links that lead out of the folder')
    .option(
      '--class-names <file>',
      "the classes' names, one a line, where labels are numbers; `numbers`: the numbers are the names",
    )
}

export async function datasetOptions({ followLinks, classNames }: DatasetCommand): Promise<DatasetOptions> {
  return {
    ...(followLinks ? { followLinks } : {}),
    ...(classNames === undefined
      ? {}
      : { classNames: classNames === 'numbers' ? classNames : await lines(classNames) }),
  }
}

/** The lines of a file, without the end of the last. */
async function lines(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch(cause => {
    throw new ClipError('ERR_CLIP_INPUT', `${file}: can't be read (${cause.code ?? cause.message})`, {
      file,
      cause,
    })
  })
  return text
    .replace(/^\ufeff/, '')
    .replace(/\s+$/, '')
    .split(/\r?\n/)
    .map(line => line.trim())
}

async function fileLabels(file: string): Promise<Label[]> {
  return (await lines(file))
    .map(line =>
      line
        .split('\t')
        .map(name => name.trim())
        .filter(name => name !== ''),
    )
    .filter(names => names.length > 0)
    .map(names => (names.length === 1 ? names[0]! : names))
}

/** What the options say; labels are undefined where none do. Labels given go before those of a prompt set. */
export async function labelsOf(
  options: LabelOptions,
): Promise<{ labels?: Label[]; templates?: readonly string[] }> {
  const { labels, labelsFile, template, templates: named, promptSet: set } = options
  if (labels !== undefined && labelsFile !== undefined)
    throw argumentError('--labels-file', 'be left out beside --labels', labelsFile)
  if (template !== undefined && named !== undefined)
    throw argumentError('--templates', 'be left out beside --template', named)
  const chosen = set === undefined ? undefined : await promptSet(set as PromptSetName)
  const list =
    labels !== undefined
      ? labels
          .split(',')
          .map(label => label.trim())
          .filter(label => label !== '')
      : labelsFile !== undefined
        ? await fileLabels(labelsFile)
        : chosen && [...chosen.labels]
  if (list?.length === 0)
    throw argumentError(
      labels !== undefined ? '--labels' : '--labels-file',
      labels !== undefined ? 'have labels with commas between them' : 'have labels, one a line',
      labels ?? labelsFile,
    )
  const words =
    named && templates[oneOf('--templates', named, Object.keys(templates)) as keyof typeof templates]
  const prompts = template ?? words ?? chosen?.templates
  return { ...(list ? { labels: list } : {}), ...(prompts ? { templates: prompts } : {}) }
}
