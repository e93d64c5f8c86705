/** For people with a GPU: whether it computes what the reference does, how fast, and a file to paste into an issue. */

import { writeFile } from 'node:fs/promises'
import type { SelfCheck } from '../cuda/selfcheck.js'
import { argumentError } from '../errors.js'
import { print } from './output.js'

const cell = (text: string) => text.replaceAll('|', '\\|')

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n')
}

/** The report as Markdown. */
export function report(r: SelfCheck): string {
  const wrong = r.kernels.filter(k => k.difference)
  const parts = [
    `# clip-native ${r.version}: GPU self-check`,
    r.standIn
      ? `**Stand-in, timings mean nothing**: ${r.standIn} took the place of NVIDIA's driver, and the kernels ran in an emulator.`
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
    `## Kernels\n\n${r.kernels.length - wrong.length} of ${r.kernels.length} compute what the reference does.`,
    wrong.length
      ? table(
          ['kernel', 'difference'],
          wrong.map(k => [k.kernel, k.difference]),
        )
      : '',
    r.towers.length
      ? `## Towers\n\nLargest distance of an embedding from the float32 reference's.\n\n${table(
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
      ? `## Timings\n\nCalls of the public API, from the JavaScript thread and back.${r.standIn ? ' Stand-in, timings mean nothing.' : ''}\n\n${table(
          ['what', 'dtype', 'of a call', 'median ms', 'fastest ms', 'per second', 'runs'],
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
  ]
  return `${parts.filter(Boolean).join('\n\n')}\n`
}

/** Exit code: 1 when a kernel or a tower differs. */
export async function gpuSelfcheck(options: {
  model?: string
  out?: string
  seconds?: string
  batches?: string
  json?: boolean
}): Promise<number> {
  const seconds = Number(options.seconds ?? 1)
  if (!(seconds >= 0 && seconds <= 600))
    throw argumentError('--seconds', 'be a number from 0 to 600', options.seconds)
  const batches = (options.batches ?? '1,8,64').split(',').map(Number)
  if (!batches.every(n => Number.isInteger(n) && n >= 1 && n <= 4096))
    throw argumentError('--batches', 'be integers from 1 to 4096, separated by commas', options.batches)
  const { selfCheck } = await import('../cuda/selfcheck.js')
  const result = await selfCheck({
    ...(options.model === undefined ? {} : { model: options.model }),
    seconds,
    batches,
    told: line => process.stderr.write(`${line}\n`),
  })
  const text = report(result)
  if (options.out !== undefined) await writeFile(options.out, text)
  await print(options.json ? JSON.stringify(result) : text.trimEnd())
  if (options.out !== undefined && !options.json)
    await print(`\nWritten to ${options.out}: please paste it into an issue.`)
  return result.ok ? 0 : 1
}
