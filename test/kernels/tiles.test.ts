/**
 * The accumulators of the matrix products really are in registers: the tile functions of the addon are disassembled, and
 * no vector register may be read from or written to the stack inside their loops. (g++ has put some heights' sums into
 * memory for no visible reason: those ran at 37 to 57 % of the speed of the others.)
 */

import { execFileSync } from 'node:child_process'
import { createRequire } from 'node:module'
import test from 'ava'
import { packageRoot } from '../../lib/binding.js'

const addon = (): string =>
  process.env.CLIP_NATIVE_ADDON ??
  (createRequire(import.meta.url)('node-gyp-build') as { path(dir: string): string }).path(packageRoot)

/** Why this can't be looked at here, or nothing. */
function obstacle(): string | undefined {
  if (process.arch !== 'x64') return `no tiles on ${process.arch}`
  if (process.env.CLIP_NATIVE_ADDON) return 'not the released build'
  try {
    execFileSync('objdump', ['--version'])
  } catch {
    return 'no objdump'
  }
  const symbols = execFileSync('objdump', ['-t', addon()], { encoding: 'utf8', maxBuffer: 1 << 28 })
  return symbols.includes('no symbols') ? 'the addon is stripped' : undefined
}

interface Instruction {
  address: number
  text: string
}

/** Instructions of every function whose name has `part`, by name. */
function disassemble(part: string): Map<string, Instruction[]> {
  const text = execFileSync('objdump', ['-d', '-C', '--no-show-raw-insn', '-j', '.text', addon()], {
    encoding: 'utf8',
    maxBuffer: 1 << 30,
  })
  const functions = new Map<string, Instruction[]>()
  for (const block of text.split('\n\n')) {
    const [head, ...lines] = block.trimStart().split('\n')
    const found = /^([0-9a-f]+) <(.*)>:$/.exec(head!)
    const name = found?.[2]
    if (!found || !name?.includes(part)) continue
    const instructions = lines.flatMap(line => {
      const [, address, rest] = /^ *([0-9a-f]+):\s+(.*)$/.exec(line) ?? []
      return address ? [{ address: Number.parseInt(address, 16), text: rest! }] : []
    })
    functions.set(`${name} at ${found[1]}`, instructions)
  }
  return functions
}

const product = /\bv(fmadd|dpbf16ps|pdpbusd|pmaddwd)/

/** Address ranges of the loops that multiply: from the target of a backward jump to the jump. */
function loops(code: Instruction[]): [number, number][] {
  return code.flatMap(({ address, text }): [number, number][] => {
    const target = /^j\w+\s+([0-9a-f]+)/.exec(text)?.[1]
    const start = target === undefined ? Number.NaN : Number.parseInt(target, 16)
    if (!(start < address && start >= code[0]!.address)) return []
    const multiplies = code.some(i => i.address >= start && i.address <= address && product.test(i.text))
    return multiplies ? [[start, address]] : []
  })
}

const onStack = /[xyz]mm\d+.*\(%r[sb]p|\(%r[sb]p.*[xyz]mm\d+/

const why = obstacle()
if (why) test.skip(`tiles keep their sums in registers: ${why}`, () => {})
else
  test('tiles keep their sums in registers', t => {
    const tiles = disassemble('::tile<')
    const kinds = new Map<string, number>()
    const spilled: string[] = []
    for (const [name, code] of tiles) {
      const [kind, height, lines] = /::(\w+), (\d+), (\d+)>/.exec(name)!.slice(1)
      kinds.set(kind!, (kinds.get(kind!) ?? 0) + 1)
      const ranges = loops(code)
      if (ranges.length === 0) t.fail(`no loop found in ${name}`)
      const inside = (address: number) => ranges.some(([a, b]) => address >= a && address <= b)
      const found = code.filter(i => inside(i.address) && onStack.test(i.text))
      if (found.length)
        spilled.push(
          `${kind}, ${height} rows, ${lines} lines: ${found[0]!.text} and ${found.length - 1} more`,
        )
    }
    t.deepEqual(spilled, [])
    t.log([...kinds].map(([kind, n]) => `${kind}: ${n}`).join(', '))
    t.deepEqual([...kinds.keys()].sort(), [
      'Bfloat16AsFloat32',
      'Float32',
      'FourInt8',
      'Int8AsInt16',
      'PairedBfloat16',
    ])
  })
