import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot, version } from '../lib/base/package.js'
import { bar, chart, displayWidth, errorLine, inColumns, scores, table } from '../lib/cli/output.js'
import { ClipError, load } from '../lib/index.js'
import { exampleImages, expected } from './api/helpers.js'

const main = join(packageRoot, 'dist', 'lib', 'cli', 'main.js')
const dog = exampleImages.find(path => path.endsWith('dog.png'))!

interface Outcome {
  code: number | null
  stdout: string
  stderr: string
}

function cli(args: string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], {
      env: { ...process.env, COLUMNS: '60', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const out = { stdout: '', stderr: '' }
    child.stdout.setEncoding('utf8').on('data', piece => {
      out.stdout += piece
    })
    child.stderr.setEncoding('utf8').on('data', piece => {
      out.stderr += piece
    })
    child.on('error', reject).on('close', code => resolve({ code, ...out }))
  })
}

test('classify draws a chart with the best label first, within the width, and without colours in a pipe', async t => {
  const { code, stdout, stderr } = await cli([
    'classify',
    dog,
    '--labels',
    'cat, dog,key',
    '--template',
    'an icon of {}',
  ])
  t.is(stderr, '')
  t.is(code, 0)
  const lines = stdout.trimEnd().split('\n')
  t.is(lines[0], dog)
  t.regex(lines[1]!, /^ {2}dog {2}█+[▏▎▍▌▋▊▉]? +\d\d\.\d %$/)
  t.is(lines.length, 4)
  for (const line of lines.slice(1)) t.true(line.length <= 60, line)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is what is tested
  t.notRegex(stdout, /\u001b/)
})

test('classify --json prints a line per image, including failures, and exits with 1', async t => {
  const { code, stdout } = await cli([
    ...['classify', dog, '/no/such.png', exampleImages[0]!],
    ...['--labels', expected.labels.join(','), '--template', expected.template, '--top', '22', '--json'],
  ])
  t.is(code, 1)
  const [first, second, third] = stdout
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line))
  t.is(first.image, dog)
  for (const { label, score, index } of first.predictions) {
    t.is(label, expected.labels[index])
    t.true(Math.abs(score - expected.probabilities['dog.png']![index]!) <= 1e-4)
  }
  t.is(second.error.code, 'ERR_CLIP_IMAGE')
  t.is(third.predictions[0].label, 'anchor')
})

test('a failed image is one line on stderr; the others are classified', async t => {
  const { code, stdout, stderr } = await cli(['classify', '/no/such.png', dog, '--labels', 'dog,cat'])
  t.is(code, 1)
  t.regex(stderr, /^clip-native: .*\/no\/such\.png.*\n$/)
  t.regex(stdout, /dog +█/)
})

test('wrong usage exits with 2 and says what is wrong', async t => {
  for (const [args, message] of [
    [['clasify'], /classify/],
    [['classify', dog], /--labels/],
    [['classify', dog, '--labels', ','], /labels/],
    [['classify', dog, '--labels', 'a', '--top', '0'], /integer from 1/],
    [['classify', dog, '--labels', 'a', '--threads', 'two'], /threads/],
    [['classify', dog, '--labels', 'a', '--device', 'gpu'], /device/],
    [['classify', dog, '--labels', 'a', '--template', 'no braces'], /\{\}/],
    [['embed'], /--text/],
  ] as const) {
    const { code, stderr } = await cli([...args])
    t.is(code, 2, args.join(' '))
    t.regex(stderr, message)
    t.notRegex(stderr, /\n\s+at /, 'no stack')
  }
})

test('a model that does not exist gives exit code 1, and a JSON error with --json', async t => {
  const args = ['info', '--model', '/no/such/model']
  const plain = await cli(args)
  t.is(plain.code, 1)
  t.regex(plain.stderr, /^clip-native: .*\/no\/such\/model.*\n$/)
  const json = await cli([...args, '--json'])
  t.is(json.code, 1)
  t.is(JSON.parse(json.stderr).error.code, 'ERR_CLIP_CHECKPOINT')
})

test('embed prints what encodeImage and encodeText return', async t => {
  const { code, stdout } = await cli(['embed', dog, '--text', 'a dog', 'a cat'])
  t.is(code, 0)
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line))
  await using clip = await load()
  t.deepEqual(Float32Array.from(lines[0].embedding), (await clip.encodeImage(dog)).data)
  t.deepEqual(Float32Array.from(lines[1].embedding), (await clip.encodeText('a dog')).data)
  t.deepEqual([lines[0].image, lines[1].text, lines[2].text], [dog, 'a dog', 'a cat'])
})

test('embed --out writes a NumPy file with rows of NaN for items that failed', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'clip-native-'))
  try {
    const out = join(folder, 'x.npy')
    const { code } = await cli(['embed', dog, '/no/such.png', '--out', out])
    t.is(code, 1)
    const bytes = readFileSync(out)
    t.is(bytes.toString('latin1', 0, 6), '\u0093NUMPY')
    const start = 10 + bytes.readUInt16LE(8)
    t.is(start % 64, 0)
    t.regex(
      bytes.toString('latin1', 10, start),
      /'descr': '<f4', 'fortran_order': False, 'shape': \(2, 192\)/,
    )
    t.is(bytes.length - start, 2 * 192 * 4)
    await using clip = await load()
    t.is(bytes.readFloatLE(start), (await clip.encodeImage(dog)).data[0])
    t.true(Number.isNaN(bytes.readFloatLE(start + 192 * 4)))
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('info and doctor print facts about the model and the machine', async t => {
  const info = JSON.parse((await cli(['info', '--json'])).stdout)
  t.like(info, { version, embedDim: 192, imageSize: 72, contextLength: 32 })
  t.regex((await cli(['info'])).stdout, /not photographs/)
  const { code, stdout } = await cli(['doctor', '--json'])
  const report = JSON.parse(stdout)
  t.is(code, 0, stdout)
  t.true(report.ok)
  t.true(report.checks.some((c: { backend: string }) => c.backend === 'reference'))
  for (const c of report.checks) {
    t.true(c.images > 0 && c.images <= 1e-5, `${c.backend} ${c.images}`)
    t.true(c.texts > 0 && c.texts <= 1e-5, `${c.backend} ${c.texts}`)
  }
  t.regex((await cli(['doctor'])).stdout, /Embedded model against PyTorch/)
})

test('a reader that closes the pipe is not an error', async t => {
  const outcome = await new Promise<Outcome>((resolve, reject) => {
    const child = spawn(process.execPath, [main, 'embed', '--text', ...Array(300).fill('dog')], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', piece => {
      stderr += piece
    })
    child.stdout.once('data', () => child.stdout.destroy())
    child.on('error', reject).on('close', code => resolve({ code, stdout: '', stderr }))
  })
  t.is(outcome.stderr, '')
  t.is(outcome.code, 0)
})

test('bars and columns are exact to an eighth, count wide characters, cut labels and escape control characters', t => {
  t.is(bar(1, 4), '████')
  t.is(bar(0.5, 1), '▌')
  t.is(bar(Number.NaN, 4), '')
  t.is(displayWidth('dog'), 3)
  t.is(displayWidth('犬🐕'), 4)
  t.is(displayWidth('e\u0301'), 1)
  t.is(inColumns('elephant', 5), 'elep…')
  t.is(inColumns('犬', 4), '犬  ')
  t.true(displayWidth(chart([{ label: 'a'.repeat(60), score: 1 }], 40)) <= 40)
})

test('every command escapes terminal control sequences in the same way', t => {
  const hostile = 'a\u001b[31mb\u202ec\n'
  const escaped = 'a\\u001b[31mb\\u202ec\\n'
  for (const [name, text] of Object.entries({
    chart: chart([{ label: hostile, score: 1 }], 80),
    scores: scores([{ label: hostile, score: 1 }], 80),
    table: table([['model', hostile]]),
    errorLine: errorLine(new ClipError('ERR_CLIP_CHECKPOINT', `${hostile}: is damaged`, { file: hostile })),
  })) {
    t.true(text.includes(escaped), `${name}: ${JSON.stringify(text)}`)
    t.false(text.includes('\u001b') || text.includes('\u202e'), name)
  }
})
