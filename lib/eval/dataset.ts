/** Data sets of labelled images: folders per class, a CSV, a WebDataset tar, or samples of the caller. */

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

/** Options of {@link openDataset}. */
export interface DatasetOptions {
  /** Follow symbolic links that lead out of the folder; default false. Cycles end, and no file is counted twice. */
  followLinks?: boolean
  /**
   * Names of the classes, for data sets whose labels are numbers from 0 (.cls files of a WebDataset, folders): element n is
   * the name of class n, as in the classnames.txt of CLIP_benchmark. 'numbers' uses the numbers as names.
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

/** Samples with class names in place of numbers. */
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
    throw fault(
      name,
      'is not a data set: expected a folder with one subfolder per class, or a .csv, .tsv or .tar file',
    )
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
 * Opens a data set: a folder with one subfolder per class; a CSV or TSV file with a column `file` (or `filepath`,
 * `file_name`, `filename`, `image`; relative to the table), one of `label`, `text`, `caption` or `title`, and optionally
 * `split`; or a WebDataset tar (images with .cls or .txt files, where each line of a .txt is a caption). Images are read as
 * they are needed.
 *
 * Rejects with a ClipError ERR_CLIP_INPUT if it is none of these, and with a TypeError for invalid arguments. Reading the
 * samples rejects if a class has no image, or if a table lacks a required column.
 */
export async function openDataset(source: string | URL, options?: DatasetOptions): Promise<Dataset> {
  return openPath(source, checkDatasetOptions(checkOptions(options, datasetOptionNames)))
}

/** Checks a sample of a data set; an invalid one is an argument error. */
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
    throw argumentError(`${field}.captions`, 'be an array of at least one string', captions)
  return sample as unknown as Sample
}

/** Turns the caller's argument into a data set; an array of samples is copied. */
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
