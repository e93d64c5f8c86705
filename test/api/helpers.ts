import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../lib/base/package.js'

export const examples = join(packageRoot, 'models', 'icon-clip', 'examples')
/** The nine images of the demonstration. */
export const exampleImages: string[] = readdirSync(examples)
  .filter(name => /\.(png|jpg)$/.test(name))
  .sort()
  .map(name => join(examples, name))
export const expected: {
  template: string
  labels: string[]
  probabilities: Record<string, number[]>
} = JSON.parse(readFileSync(join(examples, 'expected.json'), 'utf8'))

/** The bytes of a result: equal only if every bit is. */
export const bits = (data: Float32Array): Buffer => Buffer.from(data.buffer, data.byteOffset, data.byteLength)

/** A 2 x 2 red image. */
export const red = {
  data: Uint8Array.from([255, 0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0]),
  width: 2,
  height: 2,
  channels: 3 as const,
}
