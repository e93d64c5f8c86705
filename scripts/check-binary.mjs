// Checks what a built addon requires and exports, by reading its ELF file with binutils. It is not loaded, so
// it may be for another machine.
//
//   node scripts/check-binary.mjs FILE [--glibc 2.34] [--avx512 avx512.cc,...]
//
// Prints one line per rule that holds; names the rules that do not, and exits with 1:
// - no symbol of a newer GLIBC than --glibc, and no libstdc++ (2.34: Amazon Linux 2023, RHEL 9, Debian 12, Ubuntu 22.04);
// - nothing is exported except Node-API's two entry points;
// - x64, with symbols: no AVX-512 or AMX instruction outside the functions that run only if the CPU has it.
//   Functions are attributed to source files by the file symbol before them. A standard-library template that
//   was instantiated in such a file belongs to no file, and the linker may use its code for all files.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

/**
 * Functions, by name, of files that are not compiled for AVX-512 as a whole (peak.cc measures what each CPU
 * can do).
 */
const AVX512_FUNCTIONS = /avx512|^_ZN4clip12_GLOBAL__N_1\d+(fma512|dotBf16|dotInt8)Ev$/i
const AMX_FUNCTIONS = /Avx512Amx|^_ZN4clip12_GLOBAL__N_1\d+(tilesBf16|tilesInt8)Ev$/

const MACHINES = {
  62: { arch: 'x64', prefix: 'x86_64-linux-gnu-' },
  183: { arch: 'arm64', prefix: 'aarch64-linux-gnu-' },
}

const { values, positionals } = parseArgs({
  options: {
    glibc: { type: 'string', default: '2.34' },
    avx512: { type: 'string', default: 'avx512.cc,avx512_amx.cc,avx512_bf16.cc,avx512_vnni.cc,avx2_vl.cc' },
  },
  allowPositionals: true,
})
const [file] = positionals
if (positionals.length !== 1) {
  console.error('Expected the name of one file: node scripts/check-binary.mjs FILE [--glibc 2.34]')
  process.exit(2)
}

const elf = readFileSync(file)
if (elf.readUInt32BE(0) !== 0x7f454c46) {
  console.error(`${file} is not an ELF file.`)
  process.exit(2)
}
const machine = MACHINES[elf.readUInt16LE(18)]
if (!machine) {
  console.error(`${file} is for machine ${elf.readUInt16LE(18)}, which this script does not know.`)
  process.exit(2)
}
const objdump = machine.arch === process.arch ? 'objdump' : `${machine.prefix}objdump`
const read = (...args) =>
  execFileSync(objdump, [...args, file], { encoding: 'utf8', maxBuffer: 1 << 30 }).split('\n')

let failed = false
/** `wrong`: what violates the rule; empty if nothing does. */
function rule(holds, wrong) {
  if (wrong.length === 0) return console.log(`held: ${holds}`)
  failed = true
  console.log(`broken: ${holds}: ${wrong.slice(0, 20).join(', ')}${wrong.length > 20 ? ', ...' : ''}`)
}

const newer = (a, b) => {
  const [x, y] = [a, b].map(version => version.split('.').map(Number))
  for (let i = 0; i < Math.max(x.length, y.length); i++)
    if ((x[i] ?? 0) !== (y[i] ?? 0)) return (x[i] ?? 0) > (y[i] ?? 0)
  return false
}

const dynamic = read('-T')
const needs = dynamic.flatMap(line => {
  const [, library, version, name] = /\*UND\*.*\((GLIBC\w*?|CXXABI)_([\d.]+)\)\s+(\S+)/.exec(line) ?? []
  return name ? [{ library, version, name }] : []
})
const highest = needs
  .filter(n => n.library === 'GLIBC')
  .reduce((most, n) => (newer(n.version, most) ? n.version : most), '0')
rule(
  `GLIBC ${values.glibc} is enough (${highest} is the newest of ${needs.length} symbols)`,
  needs
    .filter(n => n.library !== 'GLIBC' || newer(n.version, values.glibc))
    .map(n => `${n.name} of ${n.library} ${n.version}`),
)
rule(
  'no libstdc++ is needed',
  read('-p').filter(line => /NEEDED.*stdc\+\+/.test(line)),
)
const entries = ['napi_register_module_v1', 'node_api_module_get_api_version_v1']
const shown = dynamic
  .filter(line => /^[0-9a-f]{8}/.test(line) && !line.includes('*UND*') && line[22] !== 'd')
  .map(line => line.trim().split(/\s+/).at(-1))
rule(`Node-API's entries are exported and nothing else`, [
  ...entries.filter(name => !shown.includes(name)).map(name => `no ${name}`),
  ...shown.filter(name => !entries.includes(name)),
])

/** The address of each function that is listed under a source file, with that file. */
function functionsByFile(symbols) {
  const places = new Map()
  let from = ''
  for (const line of symbols) {
    const [, address, flags, name] =
      /^([0-9a-f]+) (.{7}) \S+\s+[0-9a-f]+\s+(?:\.hidden )?(.*)$/.exec(line) ?? []
    if (!flags) continue
    if (flags[5] === 'd' && flags[6] === 'f') from = name
    else if (flags[6] === 'F' && flags[0] === 'l') places.set(address, from)
  }
  return places
}

const symbols = read('-t')
if (machine.arch !== 'x64') console.log('not checked: AVX-512, which arm64 does not have')
else if (symbols.some(line => line.includes('no symbols')))
  console.log('not checked: AVX-512, because the file is stripped')
else {
  const places = functionsByFile(symbols)
  const strays = new Set()
  const amxStrays = new Set()
  let inside = 0
  let amxInside = 0
  const files = values.avx512.split(',')
  let here = ''
  let allowed = false
  let amxAllowed = false
  for (const line of read('-d', '--no-show-raw-insn', '-j', '.text')) {
    const head = /^([0-9a-f]+) <(.*)>:$/.exec(line)
    if (head) {
      const place = places.get(head[1])
      allowed = files.includes(place) || AVX512_FUNCTIONS.test(head[2])
      amxAllowed = place === 'avx512_amx.cc' || AMX_FUNCTIONS.test(head[2])
      here = `${head[2]} of ${place || 'no file'}`
    } else if (/%tmm|\b(ld|st)tilecfg\b|\btilerelease\b/.test(line)) {
      if (amxAllowed) amxInside++
      else amxStrays.add(here)
    } else if (/%(zmm|[xy]mm(1[6-9]|2\d|3[01])\b|k[0-7]\b)/.test(line)) {
      if (allowed) inside++
      else strays.add(here)
    }
  }
  rule(
    `AVX-512 only where the CPU has it (${inside} such instructions in functions of ${files.join(', ')})`,
    [...strays, ...(inside === 0 ? ['no AVX-512 at all'] : [])],
  )
  rule(`AMX only where the CPU and the system give it (${amxInside} such instructions)`, [...amxStrays])
}
process.exit(failed ? 1 : 0)
