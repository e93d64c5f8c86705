// Analyses cuda/images, the compiled code that the package contains, without NVIDIA's disassembler (which is
// not part of CUDA's compiler): counts the tensor-core instructions of each kernel for each architecture.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliDecompressSync } from 'node:zlib'
import { fail, root } from './cuda-compile.mjs'

// Since compute capability 7.0, an instruction takes 16 bytes, and its lowest 12 bits are the operation.
// NVIDIA does not document the numbers; that this one is HMMA follows from every kernel having as many of
// them as mma.sync in its PTX.
const instructionBytes = 16
const hmma = 0x23c

const inflated = file => brotliDecompressSync(readFileSync(join(root, 'cuda/images', file)))

/** The ELF files of a fatbin: [architecture, bytes]. */
function* elfFiles(fatbin) {
  if (fatbin.readUInt32LE(0) !== 0xba55ed50) fail('cuda/images/machine_code.br does not contain a fatbin')
  for (let at = fatbin.readUInt16LE(6); at < fatbin.length; ) {
    const start = at + fatbin.readUInt32LE(at + 4)
    const end = start + Number(fatbin.readBigUInt64LE(at + 8))
    yield [String(fatbin.readUInt32LE(at + 28)), fatbin.subarray(start, end)]
    at = end
  }
}

/** The kernels of an ELF file: [name, instructions]. Each kernel's code is a section of its own. */
function* codeOf(elf) {
  if (elf.readUInt32BE(0) !== 0x7f454c46)
    fail('cuda/images/machine_code.br contains something other than ELF files')
  const headers = Number(elf.readBigUInt64LE(40))
  const headerBytes = elf.readUInt16LE(58)
  const sections = Array.from({ length: elf.readUInt16LE(60) }, (_, i) => {
    const at = headers + i * headerBytes
    const start = Number(elf.readBigUInt64LE(at + 24))
    return { name: elf.readUInt32LE(at), start, end: start + Number(elf.readBigUInt64LE(at + 32)) }
  })
  const names = sections[elf.readUInt16LE(62)].start
  for (const { name, start, end } of sections) {
    const text = elf.toString('latin1', names + name, elf.indexOf(0, names + name))
    if (text.startsWith('.text.')) yield [text.slice('.text.'.length), elf.subarray(start, end)]
  }
}

/** Kernel -> architecture -> number of HMMA instructions in its code. */
export function tensorInstructions() {
  const kernels = new Map()
  for (const [arch, elf] of elfFiles(inflated('machine_code.br')))
    for (const [name, code] of codeOf(elf)) {
      let count = 0
      for (let at = 0; at < code.length; at += instructionBytes)
        if ((code.readUInt16LE(at) & 0xfff) === hmma) count++
      if (!kernels.has(name)) kernels.set(name, {})
      kernels.get(name)[arch] = count
    }
  return kernels
}

/** Kernel -> number of mma.sync in its PTX. */
export function ptxTensorInstructions() {
  const kernels = new Map()
  for (const part of inflated('ptx.br').toString('latin1').split('.entry ').slice(1))
    kernels.set(/^\w+/.exec(part)[0], part.split('mma.sync.').length - 1)
  return kernels
}
