/** The options that every command with a model has. */

import { SingleBar } from 'cli-progress'
import type { Command } from 'commander'

import { type Activation, type Clip, type LoadOptions, load } from '../index.js'

import { downloadBar } from './download-bar.js'

export interface ModelOptions {
  model?: string
  device?: string
  dtype?: string
  threads?: string
  orient?: boolean
  background?: string
  decode?: string
  maxPixels?: string
  decodeTimeout?: string
  svg?: boolean
  adapter?: string
  packCache?: boolean
  heads?: string
  activation?: string
  stateDict?: string
  json?: boolean
}

/** Options for properties that a weight file may not determine, for every command that loads one. */
export const withCheckpoint = (command: Command): Command =>
  command
    .option('--activation <name>', 'quickGelu, gelu or geluTanh, for weight files without a configuration')
    .option(
      '--heads <count>',
      'attention heads (both towers, or IMAGE,TEXT), for weight files without a configuration',
    )
    .option('--state-dict <path>', 'which model to load from a file that contains several, such as ema')

export function withModel(command: Command): Command {
  command
    .optionsGroup('Model options:')
    .option(
      '--model <model>',
      'model name (ViT-B/32), Hugging Face id, or checkpoint file or folder (default: the embedded model for icons and emoji)',
    )
    .option('--adapter <file>', 'apply an adapter that `adapt` trained for this model')
  return withCheckpoint(command)
    .option('--device <name>', 'auto, cpu, cuda or reference (default: auto)')
    .option('--dtype <name>', 'compute in float32, float16, bfloat16 or int8 (default: float32)')
    .option('--threads <count>', 'number of threads (default: the physical cores that this process may use)')
    .option('--pack-cache', 'cache the packed weights on disk, so that the model loads faster next time')
    .optionsGroup('Image options:')
    .option('--orient', "rotate images according to their EXIF orientation (OpenAI's preprocessing does not)")
    .option(
      '--background <colour>',
      "composite transparent images onto this colour, such as '#fff' (default: black)",
    )
    .option(
      '--decode <mode>',
      'exact, or fast: decode large JPEG and WebP files at a fraction of their size (default: exact)',
    )
    .option('--max-pixels <count>', 'reject images with more pixels (default: 100 million)')
    .option('--decode-timeout <ms>', 'reject images that take longer to read and decode (default: 30000)')
    .option('--svg', 'render SVG files; use it only for files that you trust')
}

/** Parses a number of the command line. An invalid one is returned unchanged, and the check that follows reports it. */
export const number = (text: string | undefined): number | undefined =>
  text === undefined ? undefined : /^\d+$/.test(text) ? Number(text) : (text as unknown as number)

/** "12" for both towers, or "16,12" for the image tower and the text tower. */
function headsOf(text: string): LoadOptions['heads'] {
  const [image, tower, ...more] = text.split(',')
  if (tower === undefined || more.length > 0) return number(text)
  return { image: number(image), text: number(tower) } as LoadOptions['heads']
}

/** Converts the options of {@link withCheckpoint} to those of `load`. */
export const checkpointOptions = ({ heads, activation, stateDict }: ModelOptions): CheckpointChoice => ({
  ...(heads === undefined ? {} : { heads: headsOf(heads) }),
  ...(activation === undefined ? {} : { activation: activation as Activation }),
  ...(stateDict === undefined ? {} : { stateDict }),
})
export type CheckpointChoice = Pick<LoadOptions, 'heads' | 'activation' | 'stateDict'>

let isNoted = false

/** A one-time notice that the embedded model is not for photographs. */
function noteEmbedded({ model, json }: ModelOptions): void {
  if (model !== undefined || json || isNoted) return
  isNoted = true
  process.stderr.write(
    'The embedded model knows icons and emoji, not photographs; choose another with --model.\n',
  )
}

/** How a command loads its model. */
interface Loading {
  signal?: AbortSignal
  /** Print the notice about the embedded model if it is used; for commands whose results depend on the model. */
  note?: boolean
}

/** Loads the model of the options; a download is shown as in `download`. */
export async function loadFor(options: ModelOptions, { signal, note }: Loading = {}): Promise<Clip> {
  const { model, device, dtype, threads, orient, adapter, packCache } = options
  const { background, decode, maxPixels, decodeTimeout, svg } = options
  if (note) noteEmbedded(options)
  const shown = downloadBar()
  try {
    return await load(model, {
      ...(device === undefined ? {} : { device: device as LoadOptions['device'] }),
      ...(dtype === undefined ? {} : { dtype: dtype as LoadOptions['dtype'] }),
      ...(threads === undefined ? {} : { threads: number(threads) }),
      ...(orient ? { orient } : {}),
      ...(background === undefined ? {} : { background }),
      ...(decode === undefined ? {} : { decode: decode as LoadOptions['decode'] }),
      ...(maxPixels === undefined ? {} : { maxPixels: number(maxPixels) }),
      ...(decodeTimeout === undefined ? {} : { decodeTimeout: number(decodeTimeout) }),
      ...(svg ? { svg } : {}),
      ...(adapter === undefined ? {} : { adapter }),
      ...(packCache ? { packCache } : {}),
      ...checkpointOptions(options),
      ...(signal ? { signal } : {}),
      onProgress: shown.update,
    })
  } finally {
    shown.stop()
  }
}

/** A progress bar on stderr, only if stdout is not the same terminal or prints nothing before the end. */
export function progress(
  total: number,
  what: string,
  isLast = false,
): { update(done: number): void; stop(): void } {
  if (!process.stderr.isTTY || (process.stdout.isTTY && !isLast) || total < 2)
    return { update: () => {}, stop: () => {} }
  const bar = new SingleBar({
    format: `${what} {bar} {value}/{total}  {eta_formatted} left`,
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: true,
  })
  bar.start(total, 0)
  return { update: done => bar.update(done), stop: () => bar.stop() }
}
