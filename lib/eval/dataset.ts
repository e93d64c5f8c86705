/** Labelled images to measure on: a folder per class, a CSV, a WebDataset tar, or the caller's own. */

import { stat } from 'node:fs/promises'
import { argumentError } from '../base/errors.js'
import { checkPath, nameOfPath } from '../base/file-name.js'
import { checkOptions, fields, flag, listOf } from '../base/options.js'
import { systemReason } from '../base/regular-file.js'
import { Slices } from '../base/slices.js'
import { has, isArray, isObject, isUrl } from '../base/values.js'
import { extensionOf } from '../image/extensions.js'
import { isOneImage } from '../image/input.js'
import { webDataset } from './archive.js'
import { classFolders } from './class-folders.js'
import { csv } from './csv.js'
import { type Dataset, datasetFault as fault, type Reading, type Sample } from './samples.js'

/** How a data set is read. */
export interface DatasetOptions {
  /** Follow links that lead out of a folder; default false. Cycles end, and nothing is counted twice. */
  followLinks?: boolean
  /**
   * The classes' names, where labels are numbers from 0 (a .cls of a WebDataset, a folder): the n-th is that of class n,
   * as in the classnames.txt of CLIP_benchmark. 'numbers': the numbers are the names.
   */
  classNames?: readonly string[] | 'numbers'
}

export const datasetOptionNames = ['followLinks', 'classNames']

export function checkDatasetOptions({ followLinks, classNames }: DatasetOptions): DatasetOptions {
  if (classNames !== undefined && classNames !== 'numbers') {
    if (!isArray(classNames))
      throw argumentError('classNames', "be an array of names, or 'numbers'", classNames)
    for (let i = 0; i < classNames.length; i++)
      if (typeof classNames[i] !== 'string' || classNames[i] === '')
        throw argumentError(`classNames[${i}]`, 'be a name', classNames[i])
  }
  return {
    followLinks: flag('followLinks', followLinks ?? false),
    ...(classNames === undefined
      ? {}
      : { classNames: classNames === 'numbers' ? classNames : [...classNames] }),
  }
}

/** Samples whose numbers have become names. */
async function* withNames(
  samples: AsyncIterable<Sample>,
  dataset: string,
  names: NonNullable<DatasetOptions['classNames']>,
): AsyncGenerator<Sample> {
  for await (const { numbered: _, ...sample } of samples) {
    if (names !== 'numbers' && /^\d+$/.test(sample.label)) {
      const label = names[Number(sample.label)]
      if (label === undefined)
        throw fault(
          dataset,
          `the class of ${sample.name ?? 'a sample'} is number ${sample.label}, and \`classNames\` has ${names.length} names, from number 0`,
        )
      yield { ...sample, label }
    } else yield sample
  }
}

const named = (dataset: Dataset, { classNames }: DatasetOptions): Dataset =>
  classNames === undefined
    ? dataset
    : {
        name: dataset.name,
        samples: (...given) => withNames(dataset.samples(...given), dataset.name, classNames),
      }

type Reader = (path: string, reading: Reading) => AsyncGenerator<Sample>
const readers: Partial<Record<string, Reader>> = { csv, tsv: csv, tar: webDataset }

async function openPath(source: unknown, options: DatasetOptions): Promise<Dataset> {
  const given = checkPath('dataset', source)
  const name = typeof given === 'string' ? given : nameOfPath(given)
  const stats = await stat(given).catch(cause => {
    throw fault(name, systemReason(cause, 'opened', given), cause)
  })
  const read = readers[extensionOf(name)]
  if (!stats.isDirectory() && !(read && stats.isFile()))
    throw fault(name, 'is no data set: a folder with a folder per class, a .csv, .tsv or .tar is expected')
  const { followLinks = false } = options
  const dataset: Dataset = {
    name,
    samples(signal, onLeftOut = () => {}) {
      const reading = { signal, followLinks, onLeftOut }
      return read && !stats.isDirectory() ? read(name, reading) : classFolders(given, reading)
    },
  }
  return named(dataset, options)
}

/**
 * Opens a folder with a folder per class; a CSV, or a table with tabs, with a column `file` (relative to it; also
 * `filepath`, `file_name`, `filename`, `image`), one `label`, `text`, `caption` or `title` and, if it has one, `split`;
 * or a WebDataset tar (images with .cls or .txt, where each line is a caption). Images are read as they are needed.
 *
 * Rejects with ClipError ERR_CLIP_INPUT when it is none of them, with TypeError for arguments that can't be. Reading
 * the samples rejects when a class has no image, or a table's columns are not those that are expected.
 */
export async function openDataset(source: string | URL, options?: DatasetOptions): Promise<Dataset> {
  return openPath(source, checkDatasetOptions(checkOptions(options, datasetOptionNames)))
}

/** A sample as its data set gave it, checked: what is none is the caller's mistake. */
export function checkSample(sample: unknown, field: string): Sample {
  const expected = 'be { image, label }'
  if (!isObject(sample)) throw argumentError(field, expected, sample)
  const { image, label, captions } = fields(field, sample as Partial<Sample>, ['image', 'label', 'captions'])
  if (typeof label !== 'string') throw argumentError(`${field}.label`, 'be a string', label)
  const { shape } = (image ?? {}) as { shape?: unknown }
  if (!isOneImage(image) || (isArray(shape) && shape[0] !== 1))
    throw argumentError(`${field}.image`, 'be one image', image)
  if (
    captions !== undefined &&
    !(isArray(captions) && captions.length > 0 && [...captions].every(c => typeof c === 'string'))
  )
    throw argumentError(`${field}.captions`, 'be an array of one string or more', captions)
  return sample as unknown as Sample
}

/** What the caller gave, as a data set: samples in an array are one too, as they are at the call. */
export async function datasetOf(
  source: unknown,
  options: DatasetOptions,
  signal?: AbortSignal,
): Promise<Dataset> {
  if (isArray(source)) {
    const list = listOf('dataset', 'be an array of samples', source) as Sample[]
    const slices = new Slices()
    for (let i = 0; i < list.length; i++) {
      checkSample(list[i], `dataset[${i}]`)
      if (slices.due()) await slices.pause(signal)
    }
    const dataset: Dataset = {
      name: `${list.length} samples`,
      async *samples() {
        yield* list
      },
    }
    return named(dataset, options)
  }
  if (isObject(source) && !isUrl(source)) {
    const dataset = source as Partial<Dataset>
    if (!has(dataset, 'samples'))
      throw argumentError('dataset', 'be a path, an array of samples or { name, samples }', source)
    const { name } = fields('dataset', dataset, ['name'])
    return named(
      {
        name: typeof name === 'string' ? name : 'the data set',
        samples: (...given) => dataset.samples!(...given),
      },
      options,
    )
  }
  return openPath(source, options)
}
