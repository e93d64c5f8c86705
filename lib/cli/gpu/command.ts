/** `clip-native gpu-selfcheck`: compares a GPU with the reference, measures its speed, and writes a file to paste into an issue. */

import { argumentError } from '../../base/errors.js'
import { writeOutput } from '../../base/output-file.js'
import { resolveModel } from '../../hub/resolve-model.js'
import { downloadBar } from '../download-bar.js'
import { untilInterrupted } from '../interrupt.js'
import { checkpointOptions, type ModelOptions } from '../model.js'
import { print } from '../output.js'
import { leastMicroseconds } from './roofline.js'
import type { SelfCheck } from './selfcheck.js'

const cell = (text: string) => text.replaceAll('|', '\\|')

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n')
}

/** For every kernel: its time, the bytes and FLOPs per second, and their share of the GPU's limits. */
function kernelTimings({ kernelTimings: all, gpu, standIn }: SelfCheck): string {
  if (all.length === 0) return ''
  const allowed = gpu
    ? `The limit is the rate of arithmetic or memory in ${gpu.source}; a kernel whose data stays in the cache can exceed 100 %.`
    : 'The rates of this GPU are not in cuda/gpus.json, so there is no share of its limits.'
  const rows = all.map(k => [
    k.kernel,
    k.shape,
    k.microseconds.toPrecision(3),
    (k.bytes / k.microseconds / 1e3).toPrecision(3),
    k.flops ? (k.flops / k.microseconds / 1e6).toPrecision(3) : '',
    gpu ? `${((100 * leastMicroseconds(gpu, k)) / k.microseconds).toFixed(0)} %` : '',
  ])
  return `## Timings of kernels

Each figure is the time of one launch in a graph of sixteen, in the fastest of several rounds, always on the same data.${standIn ? ' Stand-in, small shapes, timings are meaningless.' : ''} ${allowed}

${table(['kernel', 'shape', 'us', 'GB/s', 'TFLOPS', 'of the limit'], rows)}`
}

/** The comparison with onnxruntime-node's CUDA provider, or why there is none. */
function onnxRuntime({ onnxRuntime: peer, standIn }: SelfCheck): string {
  const what = `onnxruntime-node${peer.version ? ` ${peer.version}` : ''}, CUDA provider, float32 (its default: TF32 where the GPU has it), against bfloat16 here.`
  const rows = peer.timings.map(t => [
    t.what,
    String(t.items),
    t.ours.toPrecision(3),
    t.theirs.toPrecision(3),
    (t.theirs / t.ours).toFixed(2),
    t.distance.toExponential(1),
  ])
  const parts = [
    `## Comparison with onnxruntime-node`,
    rows.length
      ? `${what} The calls of both sides alternate and include the copies from and to the memory of this process; the fastest call of each is shown.${standIn ? ' Stand-in, timings are meaningless.' : ''}

${table(['what', 'items per call', 'ours, ms', 'onnxruntime, ms', 'ratio', 'distance of embeddings'], rows)}`
      : '',
    peer.missing ? `Not compared${rows.length ? ' further' : ''}: ${peer.missing}.` : '',
  ]
  return parts.filter(Boolean).join('\n\n')
}

/** The report as Markdown. */
export function report(r: SelfCheck): string {
  const wrong = r.kernels.filter(k => k.difference)
  const parts = [
    `# clip-native ${r.version}: GPU self-check`,
    r.standIn
      ? `**Stand-in, timings are meaningless**: ${r.standIn} took the place of NVIDIA's driver, and the kernels ran in an emulator.`
      : '',
    `${r.ok ? 'Everything agrees with the reference.' : '**Something differs from the reference.**'}`,
    table(
      ['what', 'is'],
      [
        ['GPU', r.device.name],
        ['compute capability', (r.device.capability / 10).toFixed(1)],
        ['memory', `${(r.device.memory / 2 ** 30).toFixed(1)} GiB`],
        ['driver', `CUDA ${Math.floor(r.device.driver / 1000)}.${Math.floor((r.device.driver % 1000) / 10)}`],
        ['kernels', `${r.device.image}, ${r.device.fingerprint}`],
        ['processor', r.cpu],
        ['system', `${r.platform}, Node ${r.node}`],
        ['model', r.model],
        ['date', r.date],
      ],
    ),
    `## Kernels\n\n${r.kernels.length - wrong.length} of ${r.kernels.length} agree with the reference.`,
    wrong.length
      ? table(
          ['kernel', 'difference'],
          wrong.map(k => [k.kernel, k.difference]),
        )
      : '',
    r.towers.length
      ? `## Towers\n\nLargest distance of an embedding from that of the float32 reference.\n\n${table(
          ['tower', 'dtype', 'distance', 'bound', 'same bytes in every batch', ''],
          r.towers.map(t => [
            t.tower,
            t.dtype,
            t.distance.toExponential(1),
            t.bound.toExponential(1),
            t.sameBytes ? 'yes' : 'no',
            t.ok ? 'ok' : '**FAILED**',
          ]),
        )}`
      : '',
    r.timings.length
      ? `## Timings\n\nCalls of the public API, timed on the JavaScript thread.${r.standIn ? ' Stand-in, timings are meaningless.' : ''}\n\n${table(
          ['what', 'dtype', 'items per call', 'median ms', 'fastest ms', 'per second', 'runs'],
          r.timings.map(t => [
            t.what,
            t.dtype,
            String(t.items),
            t.median.toPrecision(3),
            t.fastest.toPrecision(3),
            ((1000 * t.items) / t.median).toFixed(0),
            String(t.runs),
          ]),
        )}`
      : '',
    kernelTimings(r),
    onnxRuntime(r),
  ]
  return `${parts.filter(Boolean).join('\n\n')}\n`
}

interface SelfCheckCommand extends Pick<ModelOptions, 'model' | 'heads' | 'activation' | 'stateDict'> {
  onnx?: string
  out?: string
  seconds?: string
  batches?: string
  json?: boolean
}

/** Exit code: 1 if a kernel or a tower differs. */
export async function gpuSelfcheck(options: SelfCheckCommand): Promise<number> {
  const seconds = Number(options.seconds ?? 1)
  if (!(seconds >= 0 && seconds <= 600))
    throw argumentError('--seconds', 'be a number from 0 to 600', options.seconds)
  const batches = (options.batches ?? '1,8,64').split(',').map(Number)
  if (!batches.every(n => Number.isInteger(n) && n >= 1 && n <= 4096))
    throw argumentError('--batches', 'be integers from 1 to 4096, separated by commas', options.batches)
  return untilInterrupted(signal => check(options, seconds, batches, signal))
}

/** The path of the model; a named model may have to be downloaded. */
async function modelPath(model: string, signal: AbortSignal): Promise<string> {
  const shown = downloadBar()
  return resolveModel(model, { signal, onProgress: shown.update }).finally(shown.stop)
}

async function check(
  options: SelfCheckCommand,
  seconds: number,
  batches: number[],
  signal: AbortSignal,
): Promise<number> {
  const { selfCheck } = await import('./selfcheck.js')
  const result = await selfCheck({
    signal,
    ...(options.model === undefined ? {} : { model: await modelPath(options.model, signal) }),
    checkpoint: checkpointOptions(options),
    ...(options.onnx === undefined ? {} : { onnx: options.onnx }),
    seconds,
    batches,
    told: line => process.stderr.write(`${line}\n`),
  })
  const text = report(result)
  if (options.out !== undefined) await writeOutput(options.out, file => file.write(Buffer.from(text)))
  await print(options.json ? JSON.stringify(result) : text.trimEnd())
  if (options.out !== undefined && !options.json)
    await print(`\nWritten to ${options.out}: please paste it into an issue.`)
  return result.ok ? 0 : 1
}
