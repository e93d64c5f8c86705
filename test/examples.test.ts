/** The examples, run as a reader would run them. */

import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../lib/base/package.js'

const folder = join(packageRoot, 'examples')

function run(name: string, ...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  return new Promise(resolve => {
    const child = spawn(process.execPath, [join(folder, name), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const said = { out: '', err: '' }
    child.stdout.setEncoding('utf8').on('data', text => {
      said.out += text
    })
    child.stderr.setEncoding('utf8').on('data', text => {
      said.err += text
    })
    child.on('close', code => resolve({ code, ...said }))
  })
}

test.serial('the example zero-shot classifies its images', async t => {
  const { code, out, err } = await run('zero-shot.mjs')
  t.is(code, 0, err)
  for (const name of ['dog', 'anchor', 'pizza', 'bicycle'])
    t.regex(out, new RegExp(`${name}\\.(png|jpg): ${name} \\d`), out)
  t.regex(out, /safetensors: dog/)
})

test.serial('the example search finds images', async t => {
  const { code, out, err } = await run('search.mjs')
  t.is(code, 0, err)
  t.regex(out, /^12 images, 0 could not be read\nagain: 12 skipped/)
  t.regex(out, /"an icon of a dog"\n +0\.\d+ {2}.*dog\.png/)
  t.regex(out, /more like a rocket\n(.*\n){0,2}.*rocket\.png/)
})

test.serial('the example few-shot learns from a few images', async t => {
  const { code, out, err } = await run('few-shot.mjs')
  t.is(code, 0, err)
  const right = [...out.matchAll(/(\d+) of 80 right/g)].map(m => Number(m[1]))
  t.is(right.length, 4)
  t.true(right[2]! > right[1]! && right[1]! > right[0]!, out)
  t.is(right[3], right[2])
})

test.serial(
  'the example server classifies, refuses bad requests, and shuts down without breaking an answer',
  async t => {
    const { serve } = (await import(join(folder, 'server.mjs'))) as {
      serve(port: number): Promise<{ port: number; close(): Promise<void> }>
    }
    const { port, close } = await serve(0)
    const post = async (body: Uint8Array<ArrayBuffer>) => {
      const response = await fetch(`http://127.0.0.1:${port}`, { method: 'POST', body })
      return { status: response.status, body: (await response.json()) as { label?: string; code?: string }[] }
    }
    const dog = new Uint8Array(readFileSync(join(packageRoot, 'models/icon-clip/examples/dog.png')))
    const several = await Promise.all([post(dog), post(new Uint8Array(8)), post(dog)])
    t.deepEqual(
      several.map(s => s.status),
      [200, 422, 200],
    )
    t.is(several[0]!.body[0]!.label, 'dog')
    t.is((several[1]!.body as { code?: string }).code, 'ERR_CLIP_IMAGE')
    t.is((await post(new Uint8Array(11 * 2 ** 20)).catch(() => ({ status: 413 }))).status, 413)
    const last = post(dog)
    await last
    await close()
    await t.throwsAsync(post(dog))
  },
)

test.serial('the example serverless answers a request', async t => {
  const { handler } = (await import(join(folder, 'serverless.mjs'))) as {
    handler(event: { texts: string[] }): Promise<{ embeddings: number[][] }>
  }
  const { embeddings } = await handler({ texts: ['a dog', 'a rocket'] })
  t.is(embeddings.length, 2)
  for (const row of embeddings) t.true(Math.abs(Math.hypot(...row) - 1) < 1e-5)
})

test.serial('the example lancedb names the missing package, and with it both searches agree', async t => {
  const { code, out, err } = await run('lancedb.mjs', join(packageRoot, 'models/icon-clip/examples'))
  if (code !== 0) return t.regex(err, /npm install @lancedb\/lancedb@/)
  const lines = out.split('\n').filter(line => /^\d\.\d{4} {2}/.test(line))
  for (let i = 0; i < lines.length; i += 2) t.is(lines[i], lines[i + 1])
})

test('every example has a test, here or in its own folder, and .ci/run runs them', t => {
  const text = readFileSync(join(packageRoot, 'test/examples.test.ts'), 'utf8')
  const ci = readFileSync(join(packageRoot, '.ci/run'), 'utf8')
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const { name } = entry
    if (entry.isDirectory()) {
      t.true(
        readdirSync(join(folder, name, 'test')).some(file => file.endsWith('.test.mjs')),
        name,
      )
      t.true(ci.includes(`test_example ${name}`), name)
    } else if (name !== 'image-files.mjs') t.true(text.includes(`'${name}'`), name)
  }
})
