/**
 * The accumulators of the matrix products really are in registers: the tile functions of the addon are disassembled, and
 * no vector register may be read from or written to the stack inside their loops. (g++ has put some heights' sums into
 * memory for no visible reason: those ran at 37 to 57 % of the speed of the others.) The addon may be for another
 * machine than this one: CLIP_NATIVE_ADDON names it, and it is not loaded.
 */

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'

const addon = (): string =>
  process.env.CLIP_NATIVE_ADDON ??
  (createRequire(import.meta.url)('node-gyp-build') as { path(dir: string): string }).path(packageRoot)

interface Machine {
  /** binutils' name of it, which prefixes its programs on other machines. */
  name: string
  arch: NodeJS.Architecture
  /** An instruction that adds products to a sum. */
  product: RegExp
  /** A backward jump's target. */
  jump: RegExp
  /** A vector register stored to or loaded from the stack. */
  onStack: RegExp
  /** The kinds of arithmetic that have tiles. */
  kinds: string[]
}

/** By e_machine of the ELF header. */
const machines: Record<number, Machine> = {
  62: {
    name: 'x86_64-linux-gnu',
    arch: 'x64',
    product: /\bv(fmadd|dpbf16ps|pdpbusd|pmaddwd)/,
    jump: /^j\w+\s+([0-9a-f]+)/,
    onStack: /[xyz]mm\d+.*\(%r[sb]p|\(%r[sb]p.*[xyz]mm\d+/,
    kinds: ['Bfloat16AsFloat32', 'Float16AsFloat32', 'Float32', 'FourInt8', 'Int8AsInt16', 'PairedBfloat16'],
  },
  183: {
    name: 'aarch64-linux-gnu',
    arch: 'arm64',
    product: /^(fmla|bfdot|sdot|sudot|sadalp)\b/,
    jump: /^(?:b(?:\.\w+)?|cbn?z\s+\w+,|tbn?z\s+\w+, #\d+,)\s+([0-9a-f]+)/,
    onStack: /^(ldr|str|ldp|stp|ldur|stur)\s+[bhsdq]\d+,.*\[(sp|x29)/,
    kinds: [
      'Bfloat16AsFloat32',
      'Float16AsFloat32',
      'Float32',
      'FourInt8',
      'FourSignedInt8',
      'Int8AsInt16',
      'PairedBfloat16',
    ],
  },
}
const machine = machines[readFileSync(addon()).readUInt16LE(18)]
const objdump = machine === undefined || machine.arch === process.arch ? 'objdump' : `${machine.name}-objdump`

/** Why this can't be looked at here, or nothing. */
function obstacle(): string | undefined {
  if (!machine) return `no tiles on ${process.arch}`
  try {
    execFileSync(objdump, ['--version'])
  } catch {
    return `no ${objdump}`
  }
  const symbols = execFileSync(objdump, ['-t', addon()], { encoding: 'utf8', maxBuffer: 1 << 28 })
  if (symbols.includes('no symbols')) return 'the addon is stripped'
  return /__[at]san_init/.test(symbols) ? 'a sanitizer build' : undefined
}

interface Instruction {
  address: number
  text: string
}

/** Instructions of every function whose name has `part`, by name. */
function disassemble(part: string): Map<string, Instruction[]> {
  const text = execFileSync(objdump, ['-d', '-C', '--no-show-raw-insn', '-j', '.text', addon()], {
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

/** Address ranges of the loops that multiply: from the target of a backward jump to the jump. */
function loops(code: Instruction[], { product, jump }: Machine): [number, number][] {
  return code.flatMap(({ address, text }): [number, number][] => {
    const target = jump.exec(text)?.[1]
    const start = target === undefined ? Number.NaN : Number.parseInt(target, 16)
    if (!(start < address && start >= code[0]!.address)) return []
    const body = code.filter(i => i.address >= start && i.address <= address)
    // A block moved behind the end jumps back, too, but no loop returns.
    if (body.some(i => /^ret\b/.test(i.text))) return []
    return body.some(i => product.test(i.text)) ? [[start, address]] : []
  })
}

const why = obstacle()
if (why || !machine) test.skip(`tiles keep their sums in registers: ${why}`, () => {})
else
  test('tiles keep their sums in registers', t => {
    const tiles = disassemble('::tile<')
    const kinds = new Map<string, number>()
    const spilled: string[] = []
    for (const [name, code] of tiles) {
      const [kind, height, lines] = /::(\w+), (\d+), (\d+)>/.exec(name)!.slice(1)
      kinds.set(kind!, (kinds.get(kind!) ?? 0) + 1)
      const ranges = loops(code, machine)
      if (ranges.length === 0) t.fail(`no loop found in ${name}`)
      const inside = (address: number) => ranges.some(([a, b]) => address >= a && address <= b)
      const found = code.filter(i => inside(i.address) && machine.onStack.test(i.text))
      if (found.length)
        spilled.push(
          `${kind}, ${height} rows, ${lines} lines: ${found[0]!.text} and ${found.length - 1} more`,
        )
    }
    t.deepEqual(spilled, [])
    t.log([...kinds].map(([kind, n]) => `${kind}: ${n}`).join(', '))
    t.deepEqual([...kinds.keys()].sort(), machine.kinds)
  })
