/** Renders an evaluation as one self-contained HTML file, without scripts, other files or network access. */

import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { checkPath } from '../base/file-name.js'
import { isUint8Array } from '../base/values.js'
import type { ImageInput } from '../image/input.js'
import type { AllLeftOut } from '../image/left-out.js'
import { classPlot, confusionPlot, mostConfused, percent, recallPlot, reliabilityPlot, xml } from './plots.js'
import type { ClassificationReport, Evaluation, RetrievalReport } from './reports.js'

/** Maximum size of an embedded image; for larger ones only the name is shown. */
const mostImageBytes = 32 * 1024
const mostClasses = 40

const style = `body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1100px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2.2rem}
p.about{color:#666;margin:.2rem 0;overflow-wrap:anywhere}
dl.figures{display:flex;flex-wrap:wrap;gap:.8rem;margin:1.2rem 0}
dl.figures div{background:#f3f6f9;border-radius:8px;padding:.6rem 1rem}
dl.figures dt{color:#666;font-size:.85rem}dl.figures dd{margin:0;font-size:1.4rem}
table{border-collapse:collapse}td,th{padding:.15rem .8rem;text-align:right;border-bottom:1px solid #e6e6e6}
td:first-child,th:first-child,.pairs td:nth-child(2),.pairs th:nth-child(2){text-align:left}
.plots{display:flex;flex-wrap:wrap;gap:2rem;align-items:flex-start}
.scroll{overflow-x:auto}.reliability td,.recall td{white-space:nowrap}
.mistakes{display:grid;grid-template-columns:repeat(auto-fill,minmax(160px,1fr));gap:1rem}
figure{margin:0;border:1px solid #e0e0e0;border-radius:8px;padding:.6rem;overflow-wrap:anywhere}
figure img{display:block;width:96px;height:96px;object-fit:contain;margin:0 auto .4rem;image-rendering:auto}
figcaption{font-size:.8rem}.wrong{color:#b03020}.sure{white-space:nowrap}.none{width:96px;height:96px;line-height:96px;text-align:center;color:#999;margin:0 auto .4rem;font-size:.8rem}`

function mime(bytes: Uint8Array): string | undefined {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(12, bytes.byteLength)).toString('latin1')
  if (start.startsWith('\u0089PNG')) return 'image/png'
  if (start.startsWith('\u00ff\u00d8\u00ff')) return 'image/jpeg'
  if (start.startsWith('GIF8')) return 'image/gif'
  if (start.startsWith('RIFF') && start.slice(8) === 'WEBP') return 'image/webp'
  return undefined
}

/** Opens the file, if that can't block. */
async function openFile(image: string) {
  try {
    return await open(checkPath('image', image), constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  } catch {
    return undefined
  }
}

/** A small image in a format that browsers support; otherwise undefined. */
async function dataUrl(image: ImageInput): Promise<string | undefined> {
  let bytes: Uint8Array | undefined
  if (isUint8Array(image)) bytes = image
  else if (typeof image === 'string' && image !== '') {
    const file = await openFile(image)
    try {
      const stats = await file?.stat()
      if (file && stats?.isFile() && stats.size <= mostImageBytes) bytes = await file.readFile()
    } finally {
      await file?.close()
    }
  }
  const type = bytes && bytes.byteLength <= mostImageBytes ? mime(bytes) : undefined
  return type && `data:${type};base64,${Buffer.from(bytes!).toString('base64')}`
}

const figures = (all: readonly (readonly [string, string])[]) =>
  `<dl class="figures">${all.map(([name, value]) => `<div><dt>${xml(name)}</dt><dd>${xml(value)}</dd></div>`).join('')}</dl>`

async function mistakes(report: ClassificationReport): Promise<string> {
  if (report.mistakes.length === 0) return '<p>None.</p>'
  const shown: string[] = []
  for (const m of report.mistakes) {
    const url = await dataUrl(m.image)
    const image = url ? `<img src="${url}" alt="${xml(m.label)}">` : '<div class="none">not shown</div>'
    shown.push(
      `<figure>${image}<figcaption><b>${xml(m.label)}</b>, predicted as <span class="wrong">${xml(m.predicted)}</span> <span class="sure">(${percent(m.probability)})</span><br>${xml(m.name)}</figcaption></figure>`,
    )
  }
  return `<div class="mistakes">${shown.join('\n')}</div>`
}

function reliabilityTable({ calibration }: ClassificationReport): string {
  const rows = calibration.bins
    .filter(b => b.count > 0)
    .map(
      b =>
        `<tr><td>${percent(b.from)} to ${percent(b.to)}</td><td>${b.count}</td><td>${percent(b.confidence!)}</td><td>${percent(b.accuracy!)}</td></tr>`,
    )
  return `<table class="reliability"><tr><th>probability</th><th>predictions</th><th>mean</th><th>accuracy</th></tr>${rows.join('')}</table>`
}

async function classification(report: ClassificationReport): Promise<string> {
  const shown = mostConfused(report.confusion, report.labels, mostClasses)
  const tested = report.perClass.filter(c => c.count > 0).length
  const confused = report.confusion.filter(c => c.label !== c.predicted).slice(0, 15)
  return `${figures([
    ['top-1', percent(report.top1)],
    ['top-5', percent(report.top5)],
    ['mean per class', percent(report.meanPerClass)],
    ['calibration error', percent(report.calibration.ece)],
    ['images', String(report.count)],
    ['labels', String(report.labels.length)],
  ])}
<h2>Confusion matrix</h2>
<p class="about">Rows are true labels, columns are predicted labels. Blue: correct, red: wrong; darker cells are larger shares of their row.${shown.length < report.labels.length ? ` Shown are the ${shown.length} classes with the most wrong predictions.` : ''}</p>
<div class="scroll">${confusionPlot(report.confusion, report.perClass, shown)}</div>
<h2>Most frequent confusions</h2>
${confused.length === 0 ? '<p>None.</p>' : `<table class="pairs"><tr><th>true label</th><th>predicted</th><th>images</th></tr>${confused.map(c => `<tr><td>${xml(c.label)}</td><td>${xml(c.predicted)}</td><td>${c.count}</td></tr>`).join('')}</table>`}
<h2>Calibration</h2>
<p class="about">Bars: accuracy of the predictions in a range of probabilities; dots: their mean probability. On the dashed line, accuracy equals probability. Paler bars stand for fewer predictions.</p>
<div class="plots scroll">${reliabilityPlot(report.calibration)}${reliabilityTable(report)}</div>
<h2>Classes</h2>
<p class="about">The least accurate classes first${tested > 60 ? `: 60 of ${tested}` : ''}.</p>
<div class="scroll">${classPlot(report.perClass)}</div>
<h2>Mistakes with the highest probabilities</h2>
${await mistakes(report)}`
}

function retrieval(report: RetrievalReport): string {
  const row = (name: string, r: RetrievalReport['imageToText']) =>
    `<tr><td>${name}</td><td>${percent(r.recall1)}</td><td>${percent(r.recall5)}</td><td>${percent(r.recall10)}</td></tr>`
  return `${figures([
    ['images', String(report.images)],
    ['texts', String(report.texts)],
  ])}
<h2>Recall</h2>
<p class="about">Share of the images (texts) whose text (one of whose images) is among the first 1, 5 and 10 results.</p>
<div class="scroll">${recallPlot([
    { name: 'image to text', recall: report.imageToText },
    { name: 'text to image', recall: report.textToImage },
  ])}</div>
<table class="recall"><tr><th></th><th>recall@1</th><th>recall@5</th><th>recall@10</th></tr>${row('image to text', report.imageToText)}${row('text to image', report.textToImage)}</table>`
}

const titles = {
  zeroshot: 'Zero-shot classification',
  fewshot: 'Few-shot classification (Tip-Adapter)',
  probe: 'Linear probe',
  retrieval: 'Retrieval',
}

/** The first files that are not samples, with the reasons. */
function leftOutLines({ count, files }: AllLeftOut): string[] {
  const named = files.slice(0, 10).map(({ path, message }) => `${path} ${message}`)
  const more = count > named.length ? `, and ${count - named.length} more` : ''
  return [`${count} files of the data set are not samples: ${named.join(', ')}${more}.`]
}

/**
 * Renders a report as one self-contained HTML page, without scripts, other files or network access. Small images of
 * mistakes (up to 32 kB) are embedded; of others only the name is shown.
 */
export async function htmlReport(report: Evaluation): Promise<string> {
  const learned = report.task === 'retrieval' ? undefined : report.learned
  const about = [
    `${report.dataset}; model ${report.fingerprint}`,
    ...(learned
      ? [`Learned from ${learned.examples} images (shots: ${learned.shots}, seed ${learned.seed}).`]
      : []),
    ...(report.failed.length > 0
      ? [`${report.failed.length} images could not be read and are left out.`]
      : []),
    ...(report.leftOut ? leftOutLines(report.leftOut) : []),
  ]
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${titles[report.task]}</title><style>${style}</style></head><body>
<h1>${titles[report.task]}</h1>
${about.map(line => `<p class="about">${xml(line)}</p>`).join('\n')}
${report.task === 'retrieval' ? retrieval(report) : await classification(report)}
</body></html>
`
}
