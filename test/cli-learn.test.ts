import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../lib/base/package.js'
import { load, templates } from '../lib/index.js'
import { exampleImages } from './api/helpers.js'
import { testData } from './helpers/test-data.js'

const main = join(packageRoot, 'dist', 'lib', 'cli', 'main.js')
const dog = exampleImages.find(path => path.endsWith('dog.png'))!
const folder = mkdtempSync(join(tmpdir(), 'clip-cli-'))
const at = (name: string) => join(folder, name)
test.after.always(() => rmSync(folder, { recursive: true }))

function cli(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], {
      env: { ...process.env, COLUMNS: '80' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const out = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const)
      child[name].setEncoding('utf8').on('data', piece => {
        out[name] += piece
      })
    child.on('error', reject).on('close', code => resolve({ code, ...out }))
  })
}

const lines = readFileSync(join(testData, 'digits.csv'), 'utf8').trim().split(/\r?\n/).slice(1)
const few = (label: string, from: number, n: number) =>
  lines
    .filter(line => line.split(',')[1] === label)
    .slice(from, from + n)
    .map(line => `${join(testData, line.split(',')[0]!)},${label}`)
const [train, held] = [0, 12].map(from => ['one', 'two', 'three'].flatMap(label => few(label, from, 8)))
writeFileSync(at('train.csv'), ['file,label', ...train!].join('\n'))
writeFileSync(at('held.csv'), ['file,label', ...held!].join('\n'))

test('classify reads labels from a file and templates by name, saves the classifier and reads it back', async t => {
  writeFileSync(at('labels.txt'), 'dog\tpuppy\ncat\n\nkey\n')
  const saved = at('names.safetensors')
  const made = await cli(
    ...['classify', dog, '--labels-file', at('labels.txt'), '--templates', 'imagenet7'],
    ...['--save', saved, '--json'],
  )
  t.is(made.code, 0, made.stderr)
  const { predictions } = JSON.parse(made.stdout)
  t.is(predictions.length, 3)
  // The same as the API's, whatever the model makes of prompts for photographs.
  await using clip = await load()
  const classifier = await clip.classifier([['dog', 'puppy'], 'cat', 'key'], {
    templates: templates.imagenet7,
  })
  t.deepEqual(predictions, await classifier.classify(dog))
  const read = await cli('classify', dog, '--classifier', saved, '--json')
  t.is(read.stdout, made.stdout)
  const cosines = await cli('classify', dog, '--classifier', saved, '--as', 'cosine', '--threshold', '-1')
  t.regex(cosines.stdout, /dog +-?0\.\d{4}\n/)
  const none = await cli('classify', dog, '--classifier', saved, '--threshold', '1.5')
  t.regex(none.stdout, /no label reaches the threshold/)
  const set = await cli('classify', dog, '--prompt-set', 'CIFAR10', '--json', '--top', '10')
  t.is(JSON.parse(set.stdout).predictions.length, 10)
})

test('classify exits with 2 if options contradict each other', async t => {
  for (const [args, message] of [
    [['classify', dog], /--labels/],
    [['classify', dog, '--labels', 'a', '--classifier', 'x'], /stand alone/],
    [['classify', dog, '--labels', 'a', '--labels-file', 'x'], /--labels-file/],
    [['classify', dog, '--labels', 'a', '--templates', 'imagenet8'], /did you mean 'imagenet80'|imagenet7/],
    [['classify', dog, '--prompt-set', 'CIFAR11'], /CIFAR10/],
    [['classify', dog, '--labels', 'a', '--threshold', 'high'], /--threshold/],
    [['classify', '--labels', 'a'], /image/],
    [['learn', at('train.csv'), '--out', at('x'), '--method', 'svm'], /--method/],
    [['eval', at('train.csv'), '--task', 'zero'], /task/],
    [['eval', at('none.csv')], /none\.csv/],
  ] as const) {
    const { code, stderr } = await cli(...args)
    t.is(code, 2, `${args.join(' ')}: ${stderr}`)
    t.regex(stderr, message)
    t.notRegex(stderr, /\n\s+at /, 'no stack')
  }
})

test('classify uses what learn wrote, and eval what adapt wrote', async t => {
  const probe = at('probe.safetensors')
  const learned = JSON.parse((await cli('learn', at('train.csv'), '--out', probe, '--json')).stdout)
  t.like(learned, { kind: 'linear-probe', examples: 24, labels: 3 })
  const files = held!.map(line => line.slice(0, line.lastIndexOf(',')))
  const answers = (await cli('classify', ...files, '--classifier', probe, '--json')).stdout.trim().split('\n')
  const right = answers.filter((line, i) => held![i]!.endsWith(`,${JSON.parse(line).predictions[0].label}`))
  t.true(right.length >= 16, `${right.length} of 24`)
  const tip = await cli('learn', at('train.csv'), '--method', 'tip', '--out', at('tip.safetensors'))
  t.regex(tip.stdout, /learned +tip-adapter/)

  const adapter = at('adapter.safetensors')
  const adapted = await cli(
    'adapt',
    at('train.csv'),
    '--out',
    adapter,
    '--epochs',
    '60',
    '--batch',
    '12',
    '--json',
  )
  t.is(JSON.parse(adapted.stdout).pairs, 24, adapted.stderr)
  const plain = JSON.parse((await cli('eval', at('held.csv'), '--json')).stdout)
  const after = JSON.parse((await cli('eval', at('held.csv'), '--json', '--adapter', adapter)).stdout)
  t.is(plain.count, 24)
  t.not(after.fingerprint, plain.fingerprint)
  t.true(after.top1 > plain.top1, `${plain.top1} before, ${after.top1} after`)
})

test('eval prints a table, writes a page, measures retrieval, and names an image that cannot be read', async t => {
  const page = at('page.html')
  const { code, stdout } = await cli('eval', at('held.csv'), '--report', page, '--template', 'a photo of {}')
  t.is(code, 0)
  t.regex(stdout, /top-1 +\d+\.\d %/)
  t.regex(stdout, /Reliability/)
  for (const line of stdout.split('\n')) t.true(line.length <= 80, line)
  t.regex(readFileSync(page, 'utf8'), /<title>Zero-shot classification<\/title>/)
  const retrieval = await cli('eval', at('held.csv'), '--task', 'retrieval')
  t.regex(retrieval.stdout, /recall@10/)
  writeFileSync(at('hole.csv'), ['file,label', ...held!.slice(0, 3), '/no/such.png,one'].join('\n'))
  const hole = await cli('eval', at('hole.csv'), '--json')
  t.is(hole.code, 1)
  t.is(JSON.parse(hole.stdout).failed.length, 1)
  t.regex(hole.stderr, /no\/such\.png/)
})
