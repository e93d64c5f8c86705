/** The options for the labels and templates of a command. */

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
    .optionsGroup('Label options:')
    .option('--labels <a,b,c>', 'comma-separated labels')
    .option('--labels-file <file>', 'file with one label per line; tabs separate several names of one label')
    .option('--template <text>', 'prompt template, "an icon of {}"; repeat it to average several', collect)
    .option('--templates <name>', "CLIP's prompt templates for ImageNet: imagenet80, imagenet7 or simple")
    .option(
      '--prompt-set <name>',
      'labels and templates of a data set in the CLIP paper: CIFAR10, Food101, ...',
    )
}

/** The options for reading a data set. */
export interface DatasetCommand {
  followLinks?: boolean
  classNames?: string
}

export function withDataset(command: Command): Command {
  return command
    .optionsGroup('Data set options:')
    .option('--follow-links', 'follow symbolic links that lead out of the folder')
    .option(
      '--class-names <file>',
      'file with one class name per line, for data sets whose labels are numbers; `numbers` uses the numbers as names',
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

/** The lines of a file, without an empty last one. */
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

/** The labels and templates of the options; labels are undefined if none are given. Explicit labels take precedence over a prompt set. */
export async function labelsOf(
  options: LabelOptions,
): Promise<{ labels?: Label[]; templates?: readonly string[] }> {
  const { labels, labelsFile, template, templates: named, promptSet: set } = options
  if (labels !== undefined && labelsFile !== undefined)
    throw argumentError('--labels-file', 'be omitted if --labels is given', labelsFile)
  if (template !== undefined && named !== undefined)
    throw argumentError('--templates', 'be omitted if --template is given', named)
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
      labels !== undefined ? 'be comma-separated labels' : 'have one label per line',
      labels ?? labelsFile,
    )
  const words =
    named && templates[oneOf('--templates', named, Object.keys(templates)) as keyof typeof templates]
  const prompts = template ?? words ?? chosen?.templates
  return { ...(list ? { labels: list } : {}), ...(prompts ? { templates: prompts } : {}) }
}
