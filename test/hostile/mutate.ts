/** Seeded damage, in terms of what the format is made of: bytes, JSON values, lines, opcodes, chunks. */

import { crc32 } from 'node:zlib'
import { generator } from '../helpers/random.js'

/** Choices of one case: the same for the same seed. */
export class Dice {
  private readonly next: () => number
  constructor(seed: number) {
    this.next = generator(Math.imul(seed + 1, 0x9e3779b1))
  }
  /** 0 to n - 1. */
  below(n: number): number {
    return Math.floor(this.next() * n)
  }
  oneIn(n: number): boolean {
    return this.below(n) === 0
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!
  }
}

const NUMBERS = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff]

/** One to four changes of bytes in [from, to). */
export function damageBytes(original: Buffer, dice: Dice, from = 0, to = original.length): Buffer {
  let data = Buffer.from(original)
  for (let changes = 1 + dice.below(4); changes > 0; changes--) {
    const at = Math.min(from + dice.below(Math.max(1, to - from)), Math.max(0, data.length - 1))
    switch (dice.below(8)) {
      case 0:
        data[at]! ^= 1 << dice.below(8)
        break
      case 1:
        data[at] = dice.below(256)
        break
      case 2: // a run is gone
        data = Buffer.concat([data.subarray(0, at), data.subarray(at + 1 + dice.below(40))])
        break
      case 3: // a run is there twice
        data = Buffer.concat([
          data.subarray(0, at),
          data.subarray(at, at + 1 + dice.below(64)),
          data.subarray(at),
        ])
        break
      case 4: // a run is another's
        data.copy(data, at, dice.below(data.length), dice.below(data.length))
        break
      case 5: // cut
        if (dice.oneIn(4)) data = data.subarray(0, at)
        break
      default: {
        const value = dice.oneIn(2) ? dice.pick(NUMBERS) : dice.below(0x100000000)
        if (at + 4 > data.length) break
        const write = dice.pick(['writeUInt32LE', 'writeUInt32LE', 'writeUInt32BE', 'writeUInt16LE'] as const)
        data[write](write === 'writeUInt16LE' ? value & 0xffff : value, at)
      }
    }
  }
  return data
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

function hostileValue(dice: Dice): Json {
  return dice.pick<() => Json>([
    () => null,
    () => true,
    () => -1,
    () => 0,
    () => 0.5,
    () => 2 ** 31,
    () => 2 ** 53,
    () => 1e300,
    () => dice.below(1000),
    () => '',
    () => 'x'.repeat(1 << dice.below(16)),
    () => '\u0000\ud800../\uffff',
    () => [],
    () => ({}),
    () => Array.from({ length: 1 + dice.below(300) }, () => 1),
    () => JSON.parse('['.repeat(80) + ']'.repeat(80)) as Json,
    () => ({ __proto__x: { constructor: 1 }, length: -1 }),
  ])()
}

/** Changes values of a JSON text, then sometimes its spelling. */
export function damageJson(original: Buffer, dice: Dice): Buffer {
  const root = JSON.parse(original.toString()) as Json
  for (let changes = 1 + dice.below(3); changes > 0; changes--) {
    // A walk from the root: fields near it are met more often than those of a long list.
    let holder: Json = root
    for (;;) {
      if (holder === null || typeof holder !== 'object') break
      const keys = Object.keys(holder)
      if (keys.length === 0) break
      const key = dice.pick(keys)
      const object = holder as { [key: string]: Json }
      const value: Json = object[key]!
      if (value !== null && typeof value === 'object' && !dice.oneIn(4)) {
        holder = value
        continue
      }
      switch (dice.below(5)) {
        case 0:
          if (Array.isArray(holder)) holder.splice(Number(key), 1)
          else delete object[key]
          break
        case 1: // another field's value
          object[key] = structuredClone(object[dice.pick(keys)]!)
          break
        case 2:
          if (Array.isArray(holder)) holder.push(hostileValue(dice))
          else
            object[dice.pick(['', '__proto__', 'toString', `${key}_`, 'x'.repeat(3000)])] = hostileValue(dice)
          break
        default:
          object[key] =
            typeof value === 'number' && dice.oneIn(2)
              ? dice.pick([value + 1, value - 1, value * 2, -value, value + 0.5, value * 1e9])
              : hostileValue(dice)
      }
      break
    }
  }
  const text = Buffer.from(JSON.stringify(root))
  return dice.oneIn(4) ? damageBytes(text, dice) : text
}

/** Changes lines of a text. */
export function damageLines(original: Buffer, dice: Dice): Buffer {
  const lines = original.toString().split('\n')
  for (let changes = 1 + dice.below(4); changes > 0; changes--) {
    const at = dice.below(lines.length)
    const line = lines[at] ?? ''
    switch (dice.below(7)) {
      case 0:
        lines.splice(at, 1)
        break
      case 1:
        lines.splice(at, 0, line)
        break
      case 2:
        lines[at] = dice.pick(lines)
        break
      case 3:
        lines[at] = line.replace(' ', dice.pick(['', '  ', '\t', '\u00a0', ' x ', '\0']))
        break
      case 4:
        lines[at] = dice.pick(['#version: 0.2', ' ', 'a', ' a', 'a ', 'é\ud800 b', 'x '.repeat(5000)])
        break
      case 5:
        lines[at] = line + dice.pick(['\r', '\u2028', '\ufeff', '</w>', '\u0000'])
        break
      default:
        lines.length = at
    }
    if (lines.length === 0) lines.push('')
  }
  const text = Buffer.from(lines.join('\n'))
  return dice.oneIn(5) ? damageBytes(text, dice) : text
}

const OPCODES = Buffer.from(
  '\x80(.NKMJ\x8aGX)]}t\x85\x86\x87aesuqrhjc\x81RbQ\x88\x89\x8b\x8c\x8dBC\x8e\x96\x95012\x8f\x90\x91\x92\x93\x94\x97ldTU',
  'latin1',
)

/** Damage to the pickle in [from, to): opcodes for opcodes as often as bytes for bytes. */
export function damagePickle(original: Buffer, dice: Dice, from: number, to: number): Buffer {
  if (dice.oneIn(3)) return damageBytes(original, dice, from, to)
  const data = Buffer.from(original)
  for (let changes = 1 + dice.below(6); changes > 0; changes--) {
    const at = from + dice.below(to - from)
    if (dice.oneIn(2)) {
      // From one opcode to the next: where the byte is one.
      const opcode = data.subarray(at, to).findIndex(byte => OPCODES.includes(byte))
      if (opcode >= 0) data[at + opcode] = dice.pick([...OPCODES])
    } else data[at] = dice.oneIn(2) ? dice.pick([...OPCODES]) : dice.below(256)
  }
  return data
}

/** Makes the checksums of a PNG's chunks right again, so that damage reaches what lies behind them. */
export function repairPng(data: Buffer): Buffer {
  for (let at = 8; at + 12 <= data.length; ) {
    const length = data.readUInt32BE(at)
    if (at + 12 + length > data.length) break
    data.writeUInt32BE(crc32(data.subarray(at + 4, at + 8 + length)), at + 8 + length)
    at += 12 + length
  }
  return data
}
