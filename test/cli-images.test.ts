/** The flags of image decoding, and the errors that name them. */

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import sharp from 'sharp'
import { packageRoot } from '../lib/base/package.js'
import { load } from '../lib/index.js'

const main = join(packageRoot, 'dist', 'lib', 'cli', 'main.js')
const scratch = mkdtempSync(join(tmpdir(), 'clip-native-cli-images-'))
test.after.always(() => rmSync(scratch, { recursive: true, force: true }))

function cli(args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args, '--threads', '1'], {
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

const png = join(scratch, 'wide.png')
const svg = join(scratch, 'drawing.svg')
const clear = join(scratch, 'clear.png')
test.before(async () => {
  const red = { channels: 3, background: 'red' } as const
  writeFileSync(
    png,
    await sharp({ create: { width: 40, height: 30, ...red } })
      .png()
      .toBuffer(),
  )
  writeFileSync(
    svg,
    '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="5" height="5"/></svg>',
  )
  const none = { channels: 4, background: { r: 9, g: 99, b: 199, alpha: 0 } } as const
  writeFileSync(
    clear,
    await sharp({ create: { width: 40, height: 30, ...none } })
      .png()
      .toBuffer(),
  )
})

test('the error for an image that is too large names the flag with which it can be read', async t => {
  const small = ['--max-pixels', '1000']
  for (const args of [
    ['classify', png, '--labels', 'a,b'],
    ['embed', png, '--out', join(scratch, 'x.npy')],
    ['embed', png, '--store', join(scratch, 'store')],
  ]) {
    const refused = await cli([...args, ...small])
    t.is(refused.code, 1)
    t.regex(refused.stderr, /40 x 30 pixels, more than --max-pixels \(1000\) allows/)
    t.notRegex(refused.stderr, /maxPixels/)
  }
  const json = await cli(['classify', png, '--labels', 'a,b', '--json', ...small])
  t.regex(JSON.parse(json.stdout).error.message, /--max-pixels/)
  t.is((await cli(['classify', png, '--labels', 'a,b', '--max-pixels', '1200'])).code, 0)
  const wrong = await cli(['classify', png, '--labels', 'a,b', '--max-pixels', 'many'])
  t.is(wrong.code, 2)
  t.regex(wrong.stderr, /Expected --max-pixels to be an integer/)
})

test('every command that reads images has the image flags', async t => {
  for (const command of ['classify', 'embed', 'search', 'eval', 'learn', 'adapt']) {
    const { stdout } = await cli([command, '--help'])
    for (const flag of ['--max-pixels', '--decode-timeout', '--background', '--decode', '--svg', '--orient'])
      t.true(stdout.includes(flag), `${command} ${flag}`)
  }
})

test('--decode fast is the option of load', async t => {
  const large = join(scratch, 'large.jpg')
  const bus = join(packageRoot, 'models', 'icon-clip', 'examples', 'hard', 'bus.jpg')
  await sharp(bus).resize(600, 450).jpeg().toFile(large)
  const fast = await cli(['embed', large, '--decode', 'fast'])
  const exact = await cli(['embed', large, '--decode', 'exact'])
  const clip = await load(undefined, { threads: 1, decode: 'fast' })
  t.deepEqual(JSON.parse(fast.stdout).embedding, [...(await clip.encodeImage(large)).data])
  await clip.dispose()
  t.notDeepEqual(JSON.parse(exact.stdout).embedding, JSON.parse(fast.stdout).embedding)
  const wrong = await cli(['embed', large, '--decode', 'quick'])
  t.is(wrong.code, 2)
  t.regex(wrong.stderr, /Expected --decode to be one of 'exact', 'fast'/)
})

test('SVG is rendered only with --svg', async t => {
  const refused = await cli(['classify', svg, '--labels', 'a,b'])
  t.is(refused.code, 1)
  t.regex(refused.stderr, /not rendered unless --svg is set/)
  t.is((await cli(['classify', svg, '--labels', 'a,b', '--svg'])).code, 0)
})

test('--background changes the embedding, and without it one warning is printed', async t => {
  const plain = await cli(['embed', clear, clear])
  t.is(plain.stderr.match(/is mostly transparent/g)?.length, 1)
  const white = await cli(['embed', clear, '--background', '#fff'])
  t.notRegex(white.stderr, /transparent/)
  const clip = await load(undefined, { threads: 1, background: '#ffffff' })
  const expected = await clip.encodeImage(clear)
  t.deepEqual(JSON.parse(white.stdout).embedding, [...expected.data])
  t.notDeepEqual(JSON.parse(plain.stdout.split('\n')[0]!).embedding, [...expected.data])
  await clip.dispose()
  const wrong = await cli(['embed', clear, '--background', 'beige'])
  t.is(wrong.code, 2)
  t.regex(wrong.stderr, /Expected --background to be a colour as '#ffffff'/)
})
