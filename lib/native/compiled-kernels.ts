/**
 * The compiled kernels for GPUs are files of the package (cuda/README.md describes how they are made). Node inflates them off
 * the JavaScript thread and hands the bytes to native code, which has no decoder, once per process.
 */

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { brotliDecompress } from 'node:zlib'
import { ClipError } from '../base/errors.js'
import { binding, fromNative } from './addon.js'

const inflate = promisify(brotliDecompress)

const files = {
  list: join(__dirname, '../../../cuda/images/images.json'),
  machineCode: join(__dirname, '../../../cuda/images/machine_code.br'),
  ptx: join(__dirname, '../../../cuda/images/ptx.br'),
}

interface Image {
  /** Size of the inflated contents. */
  bytes: number
  sha256: string
  /** Size and hash of the compressed file. */
  compressed: { bytes: number; sha256: string }
}

export interface CompiledKernels {
  machineCode: Buffer
  ptx: Buffer
  /** Different for each build of the kernels. */
  name: string
}

const unusable = (
  file: string,
  why: string,
  details: { expected?: string; actual?: string; cause?: unknown },
) =>
  new ClipError(
    'ERR_CLIP_BACKEND',
    `${file}: ${why}. GPUs need this file, which is part of clip-native: install the package again, or use device 'cpu'`,
    { file, field: 'device', ...details },
  )

async function read(file: string): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (cause) {
    throw unusable(file, `can't be read (${(cause as Error).message})`, { cause })
  }
}

async function readList(file: string): Promise<{ machineCode: Image; ptx: Image }> {
  const text = (await read(file)).toString('utf8')
  try {
    const { machineCode, ptx } = JSON.parse(text)
    for (const { bytes, sha256, compressed } of [machineCode, ptx])
      if (!(bytes > 0) || typeof sha256 !== 'string' || typeof compressed.sha256 !== 'string')
        throw new Error('it does not describe the kernels')
    return { machineCode, ptx }
  } catch (cause) {
    throw unusable(file, `is damaged (${(cause as Error).message})`, { cause })
  }
}

async function readImage(file: string, image: Image): Promise<Buffer> {
  const packed = await read(file)
  const actual = createHash('sha256').update(packed).digest('hex')
  const expected = image.compressed.sha256
  if (actual !== expected)
    throw unusable(file, `is damaged: its SHA-256 is ${actual}, not ${expected}`, { expected, actual })
  try {
    // Inflated in one piece, with room for one more byte, because zlib allocates another buffer when the room is used up.
    return await inflate(packed, { chunkSize: image.bytes + 1, maxOutputLength: image.bytes })
  } catch (cause) {
    throw unusable(file, `can't be inflated (${(cause as Error).message})`, { cause })
  }
}

/** Reads, checks and inflates the kernels. Rejects with ERR_CLIP_BACKEND naming the file that is missing or damaged. */
export async function readCompiledKernels(from = files): Promise<CompiledKernels> {
  const { machineCode, ptx } = await readList(from.list)
  const [code, text] = await Promise.all([readImage(from.machineCode, machineCode), readImage(from.ptx, ptx)])
  return {
    machineCode: code,
    ptx: text,
    name: `${machineCode.sha256.slice(0, 16)}${ptx.sha256.slice(0, 16)}`,
  }
}

let underWay: Promise<void> | undefined

/**
 * Makes sure that native code has the kernels, before anything runs on a GPU. Rejects as {@link readCompiledKernels} does,
 * and with ERR_CLIP_BACKEND if there is no usable GPU; the next call tries again.
 */
export function handOverKernels(): Promise<void> {
  underWay ??= (async () => {
    const { cuda } = binding()
    // Another worker may have done so.
    if (!(await fromNative(() => cuda.wantsKernels()))) return
    const kernels = await readCompiledKernels()
    await fromNative(() => cuda.giveKernels(kernels))
  })().finally(() => {
    underWay = undefined
  })
  return underWay
}
