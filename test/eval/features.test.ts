/** Images of a data set that are in memory at a time: a window's, whatever the data set's size. */

import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { heldBytes, windows } from '../../lib/eval/features.js'
import { exampleImages } from '../api/helpers.js'
import { nightly } from '../helpers/nightly.js'
import { patience } from '../helpers/patience.js'

const folder = await mkdtemp(join(tmpdir(), 'clip-features-'))
test.after.always(() => rm(folder, { recursive: true, force: true }))

async function* sized(...sizes: number[]) {
  for (const size of sizes) yield { image: new Uint8Array(size) }
}

test('a window ends at a number of images or bytes, and a larger image has its own window', async t => {
  const sizes: number[][] = []
  for await (const part of windows(sized(10, 20, 30, 70, 71, 10, 200, 5, 5, 5, 5), {
    images: 3,
    bytes: 100,
  }))
    sizes.push(part.map(sample => heldBytes(sample.image)))
  t.deepEqual(sizes, [[10, 20, 30], [70], [71, 10], [200], [5, 5, 5], [5]])
  t.is(heldBytes('a file'), 0)
  t.is(heldBytes({ data: new Uint8Array(12), width: 2, height: 2, channels: 3 }), 12)
})

/** A tar header (POSIX ustar). */
function header(name: string, size: number): Buffer {
  const block = Buffer.alloc(512)
  block.write(name)
  block.write('0000644\0', 100)
  block.write(`${size.toString(8).padStart(11, '0')}\0`, 124)
  block.write('        ', 148)
  block.write('0', 156)
  block.write('ustar\x0000', 257)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}

/** Images that end with megabytes of zeros, which decoders don't look at: in the file they are holes. */
async function bigTar(samples: number, bytes: number): Promise<string> {
  const path = join(folder, 'big.tar')
  const image = readFileSync(exampleImages.find(file => file.endsWith('dog.png'))!)
  const handle = await open(path, 'w')
  let at = 0
  for (let i = 0; i < samples; i++) {
    const label = i % 2 === 0 ? 'even' : 'odd'
    await handle.write(Buffer.concat([header(`${i}.png`, bytes), image]), 0, undefined, at)
    at += 512 + bytes
    const text = Buffer.alloc(512)
    text.write(label)
    await handle.write(Buffer.concat([header(`${i}.cls`, label.length), text]), 0, undefined, at)
    at += 1024
  }
  await handle.truncate(at + 1024)
  await handle.close()
  return path
}

nightly(
  'learn on a tar of 480 MB keeps only a window of it in memory, and adapt reads the same samples',
  async t => {
    t.timeout(patience * 120_000)
    const main = join(packageRoot, 'dist', 'lib', 'cli', 'main.js')
    // adapt reads as learn does: it is asked for less.
    for (const [command, count] of [
      ['learn', 60],
      ['adapt', 4],
    ] as const) {
      const tar = await bigTar(count, 8 * 2 ** 20)
      const args = [main, command, tar, '--out', join(folder, `${command}.safetensors`), '--json']
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
      let said = ''
      child.stdout.setEncoding('utf8').on('data', text => {
        said += text
      })
      let peak = 0
      const look = setInterval(() => {
        try {
          peak = Number(
            /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1] ?? peak,
          )
        } catch {} // gone, or no such system
      }, 20)
      const code = await new Promise(resolve => child.on('close', resolve))
      clearInterval(look)
      t.is(code, 0, said)
      t.is(JSON.parse(said)[command === 'learn' ? 'examples' : 'pairs'], count)
      t.log(`${command}: peak RSS ${(peak / 1024).toFixed(0)} MB`)
      if (process.platform === 'linux') t.true(peak > 50 * 1024 && peak < 400 * 1024, `${peak} kB`)
    }
  },
)
