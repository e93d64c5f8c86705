/** The HTML report, opened in Chromium: what is measured is what a reader would see. */

import { execFile, spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { type ClassificationReport, evaluate, htmlReport, load } from '../../lib/index.js'
import { testData } from '../helpers/test-data.js'

const chromium = spawnSync('chromium', ['--version'], { stdio: 'ignore' }).status === 0
const browser = chromium ? test : test.skip
const folder = await mkdtemp(join(tmpdir(), 'clip-report-'))
const clip = await load()
const report = (await evaluate(clip, join(testData, 'styles.csv'), {
  templates: 'a {}',
})) as ClassificationReport

test.after.always(async () => {
  await clip.dispose()
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
})

interface Seen {
  errors: string[]
  svgs: { label: string; width: number; height: number; shapes: number }[]
  images: { count: number; broken: number }
  overflow: number
  outside: string[]
  title: string
  figures: string
}

/** Runs in the page; what it found becomes the page's only text. */
const probe = `<script>
const errors = []
addEventListener('error', e => errors.push(e.message || String(e.target.src)), true)
addEventListener('load', () => {
  const svgs = [...document.querySelectorAll('svg')]
  const outside = svgs.flatMap(svg => {
    const s = svg.getBoundingClientRect()
    return [...svg.querySelectorAll('text')].filter(t => {
      const r = t.getBoundingClientRect()
      return r.left < s.left - 0.5 || r.right > s.right + 0.5 || r.top < s.top - 0.5 || r.bottom > s.bottom + 0.5
    }).map(t => svg.getAttribute('aria-label') + ': ' + t.textContent)
  })
  const images = [...document.images]
  const seen = {
    errors, outside, title: document.title,
    svgs: svgs.map(svg => ({ label: svg.getAttribute('aria-label'), width: svg.getBoundingClientRect().width, height: svg.getBoundingClientRect().height, shapes: svg.querySelectorAll('rect').length })),
    images: { count: images.length, broken: images.filter(i => !i.complete || i.naturalWidth === 0).length },
    overflow: document.documentElement.scrollWidth - innerWidth,
    figures: document.querySelector('dl').textContent,
  }
  document.documentElement.innerHTML = '<pre></pre>'
  document.querySelector('pre').textContent = JSON.stringify(seen)
})
</script>`

async function inBrowser(html: string): Promise<Seen> {
  const file = join(folder, 'probed.html')
  await writeFile(
    file,
    html.replace('<head>', () => `<head>${probe}`),
  )
  const flags = [
    ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
    ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
    ...[`--user-data-dir=${join(folder, 'profile')}`, '--window-size=1200,900', '--dump-dom'],
  ]
  const { stdout } = await promisify(execFile)('chromium', [...flags, `file://${file}`], {
    timeout: 120_000,
    maxBuffer: 2 ** 26,
  })
  const text = /<pre>(.*)<\/pre>/s.exec(stdout)?.[1]
  if (text === undefined) throw new Error(`nothing was measured: ${stdout.slice(0, 500)}`)
  return JSON.parse(text.replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&amp;/g, '&')) as Seen
}

browser(
  'the report opened in Chromium: no errors, plots of their sizes, all text inside, images shown',
  async t => {
    const seen = await inBrowser(await htmlReport(report))
    t.deepEqual(seen.errors, [])
    t.is(seen.title, 'Zero-shot classification')
    t.true(seen.figures.includes(`top-1${(100 * report.top1).toFixed(1)} %`), seen.figures)
    t.deepEqual(
      seen.svgs.map(s => s.label),
      ['Confusion matrix', 'Reliability diagram', 'Accuracy of each class'],
    )
    for (const { label, width, height } of seen.svgs)
      t.true(width >= 300 && height >= 150, `${label} ${width} x ${height}`)
    // A cell for each pair that occurs, the white ground and the frame.
    t.is(seen.svgs[0]!.shapes, report.confusion.length + 2)
    t.deepEqual(seen.images, { count: report.mistakes.length, broken: 0 })
    t.deepEqual(seen.outside, [])
    t.true(seen.overflow <= 0, `${seen.overflow} px too wide`)
  },
)

test('the report is self-contained, and names from the data set cannot become markup', async t => {
  const evil = '<script>alert(1)</script>"&'
  const html = await htmlReport({
    ...report,
    dataset: evil,
    perClass: [{ label: evil, count: 1, right: 0, accuracy: 0 }],
    labels: [evil],
    confusion: [{ label: evil, predicted: evil, count: 1 }],
    mistakes: [{ name: evil, label: evil, predicted: evil, probability: 1, image: '/no/such.png' }],
  })
  t.notRegex(html, /<script|onerror|(src|href)="(?!data:)/)
  t.true(html.includes('&lt;script&gt;'))
  t.true(html.includes('not shown'))
})

test('a retrieval report draws both directions, each bar as high as its recall', async t => {
  const html = await htmlReport({
    task: 'retrieval',
    dataset: 'pairs',
    fingerprint: 'x',
    images: 8,
    texts: 8,
    imageToText: { recall1: 0.25, recall5: 0.5, recall10: 1 },
    textToImage: { recall1: 0, recall5: 0.125, recall10: 0.75 },
    failed: [],
  })
  const heights = [...html.matchAll(/<rect [^>]*height="([\d.]+)" fill="#(?:1f6fb4|d07a1e)"/g)].map(
    m => +m[1]!,
  )
  const full = heights[2]!
  t.deepEqual(
    heights.map(height => height / full),
    [0.25, 0.5, 1, 0, 0.125, 0.75],
  )
})
