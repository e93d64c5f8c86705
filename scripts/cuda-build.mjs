// npm run cuda:build: compiles the CUDA kernels into cuda/images/. These files are part of the package; lib
// decompresses them and passes them to the addon. Needs nvcc with ptxas and fatbinary, and takes a minute.
// The files are committed, so that nobody else needs these tools.
//
//   ptx.br            the PTX that nvcc compiles from cuda/*.cu for compute capability 8.0, in one file
//   machine_code.br   the machine code that ptxas compiles from it for each architecture, in NVIDIA's fatbin
//                     format
//   images.json       their sources, and the sizes and hashes of the files and of their contents
//
//   node scripts/cuda-build.mjs [--check [--machine-code]]
//
//   --check          only compares images.json with the sources and with the output of nvcc; status 1 if they
//                    differ. Without nvcc, or with another version of it, compares only the sources
//   --machine-code   compares the machine code too (20 s)
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import zlib from 'node:zlib'
import { buildPtx, fail, root, run, units } from './cuda-compile.mjs'

const architectures = [80, 90, 100, 120]
const folder = join(root, 'cuda/images')
const { values } = parseArgs({
  options: {
    check: { type: 'boolean', default: false },
    'machine-code': { type: 'boolean', default: false },
  },
})
const sha256 = data => createHash('sha256').update(data).digest('hex')

/** A hash of the kernels' sources, without comments and white space. */
function hashOfSources() {
  const hash = createHash('sha256')
  const files = readdirSync(join(root, 'cuda')).filter(file => /\.(cu|cuh|h)$/.test(file))
  for (const file of files.sort())
    for (const line of readFileSync(join(root, 'cuda', file), 'utf8').split('\n'))
      hash.update(line.replace(/\/\/.*/, '').replace(/\s+/g, ''))
  return hash.digest('hex')
}

/** The PTX of all units, merged into one. */
function mergedPtx() {
  const from = buildPtx()
  // 7.0 is the oldest version that has everything that our kernels use, so that older drivers can compile it
  // too. The only newer directive that nvcc emits, used_bytes_mask, is a hint about loads.
  const lines = ['.version 7.0', '.target sm_80', '.address_size 64']
  const declared = new Set()
  for (const unit of units)
    for (const written of readFileSync(join(from, `${unit}.ptx`), 'utf8').split('\n')) {
      const line = written
        .replace(/\/\/.*$/, '')
        .trim()
        .replace(/\s+/g, ' ')
        // The block's shared memory, whose mangled name nvcc derives from the file's path.
        .replace(/_ZN4clip4cuda\w*_GLOBAL__N__\w*memoryE\b/g, 'memory')
      if (!line || /^\.(version|target|address_size)\b|^\.pragma "used_bytes_mask/.test(line)) continue
      if (/^\.(extern|global|const|visible \.(global|const))\b/.test(line)) {
        if (declared.has(line)) continue
        declared.add(line)
      }
      lines.push(line)
    }
  return `${lines.join('\n')}\n`
}

/** The fatbin with all architectures. */
function machineCode(ptx) {
  const build = join(root, 'build/cuda-images')
  mkdirSync(build, { recursive: true })
  writeFileSync(join(build, 'kernels.ptx'), ptx)
  const images = architectures.map(arch => {
    const cubin = join(build, `${arch}.cubin`)
    run('ptxas', [`-arch=sm_${arch}`, '-o', cubin, join(build, 'kernels.ptx')])
    return `--image3=kind=elf,sm=${arch},file=${cubin}`
  })
  // Not compressed by NVIDIA's tool, because old drivers can't decompress its newer formats, and Brotli gives
  // a smaller file.
  const fatbin = join(build, 'kernels.fatbin')
  run('fatbinary', [`--create=${fatbin}`, '--64', '--compress=false', ...images])
  return readFileSync(fatbin)
}

/** Compresses with Brotli at its best quality; larger windows than 16 MB and other hints gain nothing. */
function compress(data) {
  const { constants } = zlib
  return zlib.brotliCompressSync(data, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
      [constants.BROTLI_PARAM_SIZE_HINT]: data.length,
    },
  })
}

/** nvcc's version, or undefined without nvcc. */
function nvccVersion() {
  const { status, stdout } = spawnSync('nvcc', ['--version'], { encoding: 'utf8' })
  return status === 0 ? /V(\d+\.\d+\.\d+)/.exec(stdout)?.[1] : undefined
}

const describe = data => ({ bytes: data.length, sha256: sha256(data) })
/**
 * Writes a compressed file; lib/native/compiled-kernels.ts checks the file by the returned sizes and hashes.
 */
function writeImage(name, data) {
  const packed = compress(data)
  writeFileSync(join(folder, name), packed)
  return { ...describe(data), compressed: describe(packed) }
}
const nvcc = nvccVersion()
const stale = what => fail(`cuda/images does not match ${what}. Run npm run cuda:build.`)
if (values.check) {
  const images = JSON.parse(readFileSync(join(folder, 'images.json'), 'utf8'))
  // Also checked if nvcc shows that the result is the same, because machines without nvcc have only this
  // check.
  if (hashOfSources() !== images.sources) stale('the sources in cuda')
  if (nvcc !== images.nvcc) {
    console.log(
      `cuda/images was made from these sources by nvcc ${images.nvcc}; this machine has ${nvcc ? `nvcc ${nvcc}` : 'no nvcc'}`,
    )
  } else {
    const ptx = mergedPtx()
    if (sha256(ptx) !== images.ptx.sha256) stale(`the output of nvcc ${nvcc}`)
    if (values['machine-code'] && sha256(machineCode(ptx)) !== images.machineCode.sha256)
      stale('the output of ptxas')
    console.log(
      `cuda/images equals the output of nvcc ${nvcc}${values['machine-code'] ? ' and ptxas' : ''} byte for byte`,
    )
  }
} else {
  if (!nvcc) fail('This needs nvcc from the CUDA toolkit.')
  const ptx = Buffer.from(mergedPtx())
  const code = machineCode(ptx)
  mkdirSync(folder, { recursive: true })
  const images = {
    nvcc,
    sources: hashOfSources(),
    ptx: writeImage('ptx.br', ptx),
    machineCode: { architectures, ...writeImage('machine_code.br', code) },
  }
  writeFileSync(join(folder, 'images.json'), `${JSON.stringify(images, null, 2)}\n`)
}
