// npm run cuda:report: what the toolchain reports about the CUDA kernels without a GPU, as Markdown. Per
// kernel and architecture: registers, spills, stack, shared memory, occupancy, and tensor-core instructions
// of the machine code in cuda/images. Also the time that arithmetic and memory allow for named shapes on
// named GPUs. Nothing here is measured on a GPU. Needs nvcc with ptxas.
//
//   node scripts/cuda-report.mjs [--check] [--arch 80,90] [--out FILE]
//
//   --check   only compares with cuda/limits.json: status 1 if a kernel spills, has a stack frame, needs more
//             registers than listed there or has fewer tensor-core instructions, or is not listed
//   --arch    the architectures for which ptxas compiles; default 80,90,100,120
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { bankCell, bankConflicts } from './cuda-banks.mjs'
import { buildPtx, fail, root, run, units } from './cuda-compile.mjs'
import { ptxTensorInstructions, tensorInstructions } from './cuda-machine-code.mjs'
import { roofline } from './cuda-roofline.mjs'

const { values } = parseArgs({
  options: {
    check: { type: 'boolean', default: false },
    arch: { type: 'string', default: '80,90,100,120' },
    out: { type: 'string' },
  },
})
const architectures = values.arch.split(',')
const listed = list => list.map(arch => `sm_${arch}`).join(', ')
const folder = buildPtx()

// The output of ptxas -v: kernel -> architecture -> numbers.
const kernels = new Map()
for (const unit of units)
  for (const arch of architectures) {
    const cubin = join(folder, `${unit}.${arch}.cubin`)
    const text = run('ptxas', ['-v', `-arch=sm_${arch}`, '-o', cubin, join(folder, `${unit}.ptx`)])
    for (const part of text.split('Compiling entry function').slice(1)) {
      const number = pattern =>
        Number(pattern.exec(part)?.[1] ?? fail(`the output of ptxas has no ${pattern}`))
      const name = /'(\w+)'/.exec(part)[1]
      const threads = Number(
        new RegExp(`\\.entry ${name}\\([^{]*?\\.maxntid (\\d+)`, 's').exec(
          readFileSync(join(folder, `${unit}.ptx`), 'utf8'),
        )[1],
      )
      if (!kernels.has(name)) kernels.set(name, { threads, on: {} })
      kernels.get(name).on[arch] = {
        registers: number(/Used (\d+) registers/),
        spills: number(/(\d+) bytes spill stores/) + number(/(\d+) bytes spill loads/),
        stack: number(/(\d+) bytes stack frame/),
      }
    }
  }

const limits = JSON.parse(readFileSync(join(root, 'cuda/limits.json'), 'utf8'))
const complaints = []
for (const [name, { on }] of kernels) {
  const limit = limits.registers[name] ?? limits.registersOfOthers
  for (const [arch, { registers, spills, stack }] of Object.entries(on)) {
    if (spills || stack)
      complaints.push(`${name} on sm_${arch}: ${spills} bytes of spills, ${stack} of stack`)
    if (registers > limit) complaints.push(`${name} on sm_${arch}: ${registers} registers, limit ${limit}`)
  }
}
for (const name of Object.keys(limits.registers))
  if (!kernels.has(name)) complaints.push(`cuda/limits.json names ${name}, which does not exist`)

// From the contents of cuda/images, for all its architectures; cuda:build --check compares them with the
// sources.
const hmma = tensorInstructions()
const mma = ptxTensorInstructions()
for (const name of kernels.keys()) {
  const least = limits.hmma[name] ?? 0
  if (!hmma.has(name)) complaints.push(`${name} is not in cuda/images`)
  for (const [arch, count] of Object.entries(hmma.get(name) ?? {})) {
    const where = `${name} on sm_${arch}: ${count} HMMA instructions`
    if (count < least) complaints.push(`${where}, at least ${least} expected`)
    if (count > 0 && least === 0) complaints.push(`${where}, none in cuda/limits.json`)
    if (count < mma.get(name)) complaints.push(`${where}, but ${mma.get(name)} mma.sync in its PTX`)
  }
}
for (const name of Object.keys(limits.hmma))
  if (!kernels.has(name)) complaints.push(`cuda/limits.json names ${name}, which does not exist`)
if (kernels.size > limits.kernels) complaints.push(`${kernels.size} kernels, limit ${limits.kernels}`)
if (values.check) {
  for (const complaint of complaints) console.error(complaint)
  console.log(`${kernels.size} kernels on ${listed(architectures)}: ${complaints.length} complaints`)
  process.exit(complaints.length > 0 ? 1 : 0)
}

// Shared memory per launch, from the headers; kernels without an entry use almost none.
const shared = name => limits.shared[name] ?? 64

// Blocks per multiprocessor: registers are allocated to warps in units of 256, shared memory in KB, with 1 KB
// more per block.
const machines = {
  80: { name: 'A100', shared: 164, warps: 64 },
  90: { name: 'H100', shared: 228, warps: 64 },
  100: { name: 'B200', shared: 228, warps: 64 },
  120: { name: 'RTX 5090', shared: 100, warps: 48 },
}
function occupancy(name, arch) {
  const { threads, on } = kernels.get(name)
  const { name: gpu, shared: most, warps: mostWarps } = machines[arch]
  const warps = threads / 32
  const perWarp = Math.ceil((on[arch].registers * 32) / 256) * 256
  const byRegisters = Math.floor(Math.floor(65536 / perWarp) / warps)
  const byShared = Math.floor(most / (Math.ceil(shared(name) / 1024) + 1))
  const blocks = Math.min(byRegisters, byShared, Math.floor(mostWarps / warps), 32)
  return `${gpu} ${blocks} (${Math.round((100 * blocks * warps) / mostWarps)} %)`
}

// A single number if all are equal.
const numbers = list => (new Set(list).size === 1 ? `${list[0]}` : list.join(', '))
const sameAsPtx = [...hmma].every(([name, on]) => Object.values(on).every(count => count === mma.get(name)))

const inImages = Object.keys([...hmma.values()][0])

const lines = [
  '# The CUDA kernels without a GPU',
  '',
  `${kernels.size} kernels, reported by \`npm run cuda:report\`. Nothing here was measured on a GPU.`,
  '',
  `Limits: ${complaints.length === 0 ? 'no spills and no stack in any kernel on any architecture; all within cuda/limits.json' : complaints.join('; ')}.`,
  '',
  `- Registers, spills and stack are those reported by \`ptxas -v\` for ${listed(architectures)}; shared memory is that of a launch.`,
  '- The number of blocks on a multiprocessor, and their share of its warps, are calculated from these.',
  `- HMMA is the number of tensor-core instructions in the machine code of \`cuda/images\`, on ${listed(inImages)};`,
  `  a single number if all are equal. ${sameAsPtx ? 'Every kernel has as many as its PTX has `mma.sync`.' : ''}`.trimEnd(),
  '- Bank conflicts are wavefronts beyond the minimum, with the minimum, over all accesses to shared memory (`ld`, `st`,',
  '  `ldmatrix`, `cp.async`). The interpreter counts them in the PTX of nvcc from the addresses of the lanes of each warp,',
  '  on the shapes of `test/cuda/bank_cases.cc`. An access of a whole warp takes at least one wavefront of 128 bytes for',
  '  every 4 bytes per lane. ptxas may merge accesses, but it does not move them to other banks.',
  '',
  '| kernel | threads | shared bytes | registers | spilled bytes | stack bytes | HMMA | bank conflicts | blocks on a multiprocessor, calculated |',
  '|---|---|---|---|---|---|---|---|---|',
]
const banks = bankConflicts(folder)
for (const name of [...kernels.keys()].sort()) {
  const { threads, on } = kernels.get(name)
  const of = key => architectures.map(arch => on[arch][key])
  const blocks = architectures.filter(arch => machines[arch]).map(arch => occupancy(name, arch))
  const cells = [
    name,
    threads,
    shared(name),
    of('registers').join(', '),
    numbers(of('spills')),
    numbers(of('stack')),
    numbers(Object.values(hmma.get(name) ?? {})),
    bankCell(banks.get(name)),
    blocks.join(', '),
  ]
  lines.push(`| ${cells.join(' | ')} |`)
}
lines.push('', ...roofline())
const text = `${lines.join('\n').trimEnd()}\n`
if (values.out) writeFileSync(values.out, text)
else process.stdout.write(text)
