// npm run cuda:report: what the toolchain says of the CUDA kernels without a GPU, as Markdown. Per kernel and
// architecture: registers, spills, stack, shared memory, blocks per multiprocessor; and the time that arithmetic
// and memory allow for named shapes on named GPUs. Nothing of it is measured on a GPU.
//
//   node scripts/cuda-report.mjs [--check] [--arch 80,90] [--out FILE]
//
//   --check   only compare with cuda/limits.json: status 1 where a kernel spills, has a stack frame or needs more
//             registers than it says, or is not in it
//   --arch    default 80,90,100,120
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildPtx, fail, root, run, units } from './cuda-compile.mjs'

const { values } = parseArgs({
  options: {
    check: { type: 'boolean', default: false },
    arch: { type: 'string', default: '80,90,100,120' },
    out: { type: 'string' },
  },
})
const architectures = values.arch.split(',')
const folder = buildPtx()

// What ptxas -v says: kernel -> architecture -> numbers.
const kernels = new Map()
for (const unit of units)
  for (const arch of architectures) {
    const cubin = join(folder, `${unit}.${arch}.cubin`)
    const text = run('ptxas', ['-v', `-arch=sm_${arch}`, '-o', cubin, join(folder, `${unit}.ptx`)])
    for (const part of text.split('Compiling entry function').slice(1)) {
      const number = pattern => Number(pattern.exec(part)?.[1] ?? fail(`ptxas says no ${pattern}`))
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
  const limit = limits.registers[name]
  if (limit === undefined) complaints.push(`${name} is not in cuda/limits.json`)
  for (const [arch, { registers, spills, stack }] of Object.entries(on)) {
    if (spills || stack)
      complaints.push(`${name} on sm_${arch}: ${spills} bytes of spills, ${stack} of stack`)
    if (registers > limit) complaints.push(`${name} on sm_${arch}: ${registers} registers, limit ${limit}`)
  }
}
for (const name of Object.keys(limits.registers))
  if (!kernels.has(name)) complaints.push(`cuda/limits.json names ${name}, which does not exist`)
if (kernels.size > limits.kernels) complaints.push(`${kernels.size} kernels, limit ${limits.kernels}`)
if (values.check) {
  for (const complaint of complaints) console.error(complaint)
  console.log(
    `${kernels.size} kernels on ${architectures.map(arch => `sm_${arch}`).join(', ')}: ${complaints.length} complaints`,
  )
  process.exit(complaints.length > 0 ? 1 : 0)
}

// Shared memory per launch, from the headers: kernels without an entry have next to none.
const shared = name => limits.shared[name] ?? 64

// Blocks per multiprocessor: registers go to warps in pieces of 256, shared memory in KB with 1 KB per block.
const machines = {
  80: { name: 'A100', shared: 164, warps: 64 },
  90: { name: 'H100', shared: 228, warps: 64 },
  100: { name: 'B200', shared: 228, warps: 64 },
  120: { name: 'RTX 5090', shared: 100, warps: 48 },
}
function blocks(name, arch) {
  const { threads, on } = kernels.get(name)
  const warps = threads / 32
  const perWarp = Math.ceil((on[arch].registers * 32) / 256) * 256
  const byRegisters = Math.floor(Math.floor(65536 / perWarp) / warps)
  const byShared = Math.floor(machines[arch].shared / (Math.ceil(shared(name) / 1024) + 1))
  return Math.min(byRegisters, byShared, Math.floor(machines[arch].warps / warps), 32)
}

const lines = []
lines.push('# The CUDA kernels without a GPU', '')
lines.push(`${kernels.size} kernels. From \`ptxas -v\` of one PTX; nothing here was measured on a GPU.`, '')
lines.push(
  `Spills, stack and limits: ${complaints.length === 0 ? 'no spills and no stack in any kernel on any architecture; all within cuda/limits.json' : complaints.join('; ')}.`,
  '',
)
lines.push(
  `| kernel | threads | shared bytes | registers on ${architectures.map(a => `sm_${a}`).join(', ')} | blocks per multiprocessor, calculated |`,
  '|---|---|---|---|---|',
)
for (const name of [...kernels.keys()].sort()) {
  const { threads, on } = kernels.get(name)
  lines.push(
    `| ${name} | ${threads} | ${shared(name)} | ${architectures.map(a => on[a].registers).join(', ')} | ${architectures
      .filter(a => machines[a])
      .map(a => `${machines[a].name} ${blocks(name, a)}`)
      .join(', ')} |`,
  )
}

// Shapes of a forward pass; weights 16-bit and read once, activations written and read once.
const gpus = [
  { name: 'A100', flops: 312e12, bytes: 2.04e12 },
  { name: 'H100', flops: 989e12, bytes: 3.35e12 },
  { name: 'RTX 4090', flops: 165.2e12, bytes: 1.008e12 },
  { name: 'RTX 5090', flops: 209.5e12, bytes: 1.792e12 },
]
const products = [
  ['ViT-B/32 fc1', 50, 768, 3072],
  ['ViT-B/32 fc2', 50, 3072, 768],
  ['ViT-B/32 qkv', 50, 768, 2304],
  ['ViT-L/14 fc1', 257, 1024, 4096],
  ['text B fc1, 77 tokens', 77, 512, 2048],
]
lines.push('', '## What arithmetic and memory allow', '')
lines.push(
  'Calculated from datasheets: the longer of FLOPs / peak and bytes / bandwidth. A kernel takes longer.',
  '',
)
lines.push(
  `| product | batch | GFLOP | MB | ${gpus.map(gpu => `${gpu.name}, us`).join(' | ')} |`,
  `|---|---|---|---|${gpus.map(() => '---').join('|')}|`,
)
for (const [name, tokens, input, output] of products)
  for (const batch of [1, 64]) {
    const rows = tokens * batch
    const flops = 2 * rows * input * output
    const bytes = 2 * (input * output + rows * (input + output))
    const times = gpus.map(gpu => (Math.max(flops / gpu.flops, bytes / gpu.bytes) * 1e6).toFixed(1))
    lines.push(
      `| ${name} | ${batch} | ${(flops / 1e9).toFixed(3)} | ${(bytes / 1e6).toFixed(2)} | ${times.join(' | ')} |`,
    )
  }
const text = `${lines.join('\n')}\n`
if (values.out) writeFileSync(values.out, text)
else process.stdout.write(text)
