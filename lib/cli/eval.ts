import type { Command } from 'commander'
import { argumentError, printable } from '../base/errors.js'
import { writeOutput } from '../base/output-file.js'
import { percent } from '../eval/plots.js'
import type { ClassificationReport, Evaluation, EvaluationTask, RetrievalReport } from '../eval/reports.js'
import { withFlags } from './flags.js'
import { untilInterrupted } from './interrupt.js'
import {
  type DatasetCommand,
  datasetOptions,
  type LabelOptions,
  labelsOf,
  withDataset,
  withLabels,
} from './labels.js'
import { tellLeftOut } from './left-out.js'
import { loadFor, type ModelOptions, number, progress, withModel } from './model.js'
import { bar, bold, columns, dim, displayWidth, inColumns, print, table } from './output.js'

interface EvalCommand extends ModelOptions, LabelOptions, DatasetCommand {
  task?: string
  classifier?: string
  shots?: string
  seed?: string
  limit?: string
  report?: string
  json?: boolean
}

const worst = 10

/** The contents of the --json file: the report without the images. */
const asJson = (report: Evaluation): string =>
  JSON.stringify(report, (key, value) => (key === 'image' ? undefined : value))

function classificationText(r: ClassificationReport): string {
  const width = columns()
  const classes = r.perClass.filter(c => c.count > 0).sort((a, b) => a.accuracy! - b.accuracy!)
  const confused = r.confusion.filter(c => c.label !== c.predicted).slice(0, worst)
  const shown = [
    ...classes.slice(0, worst).map(c => c.label),
    ...confused.flatMap(c => [c.label, c.predicted]),
  ]
  const longest = Math.max(0, ...shown.map(label => displayWidth(printable(label))))
  const name = Math.min(longest, Math.floor(width / 3))
  const barWidth = Math.max(4, width - name - 26)
  const lines = [
    table([
      ['images', `${r.count}${r.failed.length > 0 ? `, and ${r.failed.length} that could not be read` : ''}`],
      ['labels', String(r.labels.length)],
      ...(r.learned
        ? [
            [
              'learned from',
              `${r.learned.examples} images (shots: ${r.learned.shots}, seed ${r.learned.seed})`,
            ] as const,
          ]
        : []),
      ['top-1', percent(r.top1)],
      ['top-5', percent(r.top5)],
      ['mean per class', percent(r.meanPerClass)],
      ['calibration error', `${percent(r.calibration.ece)} over ${r.calibration.bins.length} bins`],
    ]),
    `\n${bold('Least accurate classes')}`,
    ...classes
      .slice(0, worst)
      .map(c =>
        `  ${inColumns(printable(c.label), name)}  ${`${percent(c.accuracy!).padStart(7)} of ${c.count}`.padEnd(17)} ${bar(c.accuracy!, barWidth)}`.trimEnd(),
      ),
    ...(classes.length > worst ? [dim(`  and ${classes.length - worst} more`)] : []),
    ...(confused.length > 0 ? [`\n${bold('Most frequent confusions')}`] : []),
    ...confused.map(
      c =>
        `  ${inColumns(printable(c.label), name)}  predicted as ${inColumns(printable(c.predicted), name)} ${String(c.count).padStart(5)}`,
    ),
    `\n${bold('Reliability')}`,
    `  ${'probability'.padEnd(20)} ${'answers'.padStart(7)}  ${'mean'.padStart(7)}  ${'right'.padStart(7)}`,
    ...r.calibration.bins
      .filter(b => b.count > 0)
      .map(
        b =>
          `  ${`${percent(b.from)} to ${percent(b.to)}`.padEnd(20)} ${String(b.count).padStart(7)}  ${percent(b.confidence!).padStart(7)}  ${percent(b.accuracy!).padStart(7)}`,
      ),
  ]
  return lines.join('\n')
}

function retrievalText(r: RetrievalReport): string {
  const row = (what: string, x: RetrievalReport['imageToText']) =>
    `  ${what.padEnd(28)} ${percent(x.recall1).padStart(9)} ${percent(x.recall5).padStart(9)} ${percent(x.recall10).padStart(9)}`
  return [
    table([
      [
        'images',
        `${r.images}${r.failed.length > 0 ? `, and ${r.failed.length} that could not be read` : ''}`,
      ],
      ['texts', String(r.texts)],
    ]),
    `\n  ${''.padEnd(28)} ${'recall@1'.padStart(9)} ${'recall@5'.padStart(9)} ${'recall@10'.padStart(9)}`,
    row('image to text', r.imageToText),
    row('text to image', r.textToImage),
  ].join('\n')
}

/** A progress bar for each stage of the work. */
function stages() {
  let stage: string | undefined
  let shown: ReturnType<typeof progress> | undefined
  const what = { texts: 'texts', learn: 'examples', test: 'images' }
  return {
    update(p: { stage: keyof typeof what; done: number; total: number }) {
      if (stage !== p.stage) {
        shown?.stop()
        shown = progress(p.total, what[p.stage], true)
        stage = p.stage
      }
      shown!.update(p.done)
    },
    stop: () => shown?.stop(),
  }
}

/** Exit code: 1 if an image or a folder could not be read, 130 after Ctrl-C. */
function evalCommand(dataset: string, options: EvalCommand): Promise<number> {
  return untilInterrupted(signal => measure(dataset, options, signal))
}

async function measure(dataset: string, options: EvalCommand, signal: AbortSignal): Promise<number> {
  const { evaluate } = await import('../eval/evaluate.js')
  const chosen = { ...(await labelsOf(options)), ...(await datasetOptions(options)) }
  const { task, classifier: file } = options
  if (file !== undefined && (task ?? options.shots ?? chosen.labels ?? chosen.templates) !== undefined)
    throw argumentError('--classifier', 'be used without --task, --shots and labels: the file has them', file)
  await using clip = await loadFor(options, { signal, note: true })
  const classifier = file === undefined ? undefined : await clip.loadClassifier(file, { signal })
  const bars = stages()
  const [shots, seed, limit] = [number(options.shots), number(options.seed), number(options.limit)]
  const report = await evaluate(clip, dataset, {
    ...(task === undefined ? {} : { task: task as EvaluationTask }),
    ...(classifier ? { classifier } : {}),
    ...chosen,
    signal,
    ...(shots === undefined ? {} : { shots }),
    ...(seed === undefined ? {} : { seed }),
    ...(limit === undefined ? {} : { limit }),
    onProgress: bars.update,
  }).finally(bars.stop)
  for (const { name, message } of report.failed)
    process.stderr.write(`clip-native: ${printable(name)}: ${printable(withFlags(message))}\n`)
  if (!options.json) tellLeftOut(report.leftOut)
  await print(
    options.json
      ? asJson(report)
      : report.task === 'retrieval'
        ? retrievalText(report)
        : classificationText(report),
  )
  if (options.report !== undefined) {
    const { htmlReport } = await import('../eval/report.js')
    const page = Buffer.from(await htmlReport(report))
    await writeOutput(options.report, file => file.write(page))
  }
  const isLoss = report.leftOut?.files.some(({ reason }) => reason === 'unreadable')
  return report.failed.length > 0 || isLoss ? 1 : 0
}

export function registerEval(root: Command, finish: (code: number) => void): void {
  withModel(
    withDataset(
      withLabels(
        root
          .command('eval')
          .description('measure a model on a labelled data set')
          .argument(
            '<dataset>',
            'folder with one subfolder per class, CSV or TSV file (file,label), or WebDataset tar',
          )
          .option(
            '--task <name>',
            'zeroshot, fewshot (Tip-Adapter), probe (linear probe) or retrieval (default: zeroshot)',
          )
          .option(
            '--classifier <file>',
            'measure a classifier that `learn` or `classify --save` wrote, instead of --task and --labels',
          )
          .option('--shots <count>', 'number of examples per class to learn from')
          .option('--seed <number>', 'random seed for choosing the examples', '1')
          .option('--limit <count>', 'use only the first images of the data set')
          .option('--report <file.html>', 'also write an HTML page with plots')
          .option('--json', 'print the result as JSON'),
      ),
    ),
  ).action(async (dataset, options) => finish(await evalCommand(dataset, options)))
}
