/**
 * The small safetensors files of this package (classifiers and adapters): float32 tensors, `__metadata__` with the kind of the
 * file, and a U8 tensor `about` with JSON that is too long for a header.
 */

import { allocate } from '../base/allocate.js'
import { argumentError, ClipError, got } from '../base/errors.js'
import { type Json, JsonError, parseJson, writeJson } from '../base/json.js'
import { writeOutput } from '../base/output-file.js'
import { copySlices, inSlices } from '../base/slices.js'
import { badCheckpoint, Pace, quote, shapeText } from './errors.js'
import { readSafetensors } from './safetensors.js'
import { openSource } from './source-file.js'
import { TensorTable } from './tensors.js'

export interface Tensor {
  data: Float32Array
  shape: readonly number[]
}

/** Maximum size of `about`: 200 000 labels of 40 characters. */
const LARGEST_ABOUT = 16 << 20
const ABOUT_LIMITS = { depth: 8, values: 1_000_000, objects: 400_000 }

const bytesOf = (data: Float32Array | Uint8Array) =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength)

/** Numbers written at a time. */
const PIECE = 65536

const elements = (shape: readonly number[]) => shape.reduce((n, size) => n * size, 1)

function checkStillThere(name: string, data: Float32Array, length: number): void {
  if (data.length === length) return
  throw argumentError(
    name,
    'keep its memory until the call settles',
    got('an array that was transferred or resized'),
  )
}

/**
 * Writes `file` completely or not at all. `format` is the kind of file: "clip-native/classifier".
 * Rejects with a ClipError ERR_CLIP_INPUT naming the file if it can't be written.
 */
export async function writeTensorFile(
  file: string,
  format: string,
  metadata: Readonly<Record<string, string>>,
  about: unknown,
  tensors: Readonly<Record<string, Tensor>>,
): Promise<void> {
  const text = await inSlices(writeJson(about))
  let length = 0
  for (const block of text) length += block.byteLength
  if (length > LARGEST_ABOUT)
    throw new ClipError(
      'ERR_CLIP_INPUT',
      `${file}: its labels and templates take ${length} bytes, more than the ${LARGEST_ABOUT} that are read back`,
      { file, field: 'about', expected: String(LARGEST_ABOUT), actual: String(length) },
    )
  const header: Record<string, unknown> = { __metadata__: { format, version: '1', ...metadata } }
  let at = 0
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    checkStillThere(name, data, elements(shape))
    header[name] = { dtype: 'F32', shape, data_offsets: [at, at + data.byteLength] }
    at += data.byteLength
  }
  header.about = { dtype: 'U8', shape: [length], data_offsets: [at, at + length] }
  const json = new TextEncoder().encode(JSON.stringify(header))
  // Padded to align the data, as the format requires.
  const head = Buffer.alloc(8 + Math.ceil(json.byteLength / 8) * 8, 0x20)
  head.writeBigUInt64LE(BigInt(head.byteLength - 8), 0)
  head.set(json, 8)
  await writeOutput(file, async output => {
    await output.write(head)
    for (const [name, { data, shape }] of Object.entries(tensors)) {
      const length = elements(shape)
      // Copied, because the caller has these arrays too (`classifier.embeddings`), and an array that is transferred during
      // the write would be freed memory.
      for (let from = 0; from < length; from += PIECE) {
        const piece = data.slice(from, Math.min(from + PIECE, length))
        checkStillThere(name, data, length)
        await output.write(bytesOf(piece))
      }
    }
    for (const block of text) await output.write(block)
  })
}

/** A file written by {@link writeTensorFile}, after reading and checking it. */
export class TensorFile {
  private constructor(
    readonly file: string,
    readonly metadata: ReadonlyMap<string, string>,
    readonly about: Json,
    readonly bytes: number,
    private readonly tensors: ReadonlyMap<string, Tensor & { offset: number }>,
  ) {}

  /**
   * Reads the whole file, up to `mostBytes`. Rejects with a ClipError ERR_CLIP_CHECKPOINT naming file and field if it is not a
   * safetensors file, has another format or version, or is damaged.
   */
  static async read(
    file: string,
    format: string,
    mostBytes: number,
    signal?: AbortSignal,
  ): Promise<TensorFile> {
    const source = await openSource(file, signal)
    try {
      if (source.bytes > mostBytes)
        throw badCheckpoint(
          file,
          undefined,
          `is ${source.bytes} bytes, more than the ${mostBytes} that are read`,
          {
            expected: String(mostBytes),
            actual: String(source.bytes),
          },
        )
      const table = new TensorTable()
      const metadata = await readSafetensors(source, table, new Pace(signal))
      const is = metadata.get('format')
      if (is !== format)
        throw badCheckpoint(
          file,
          '__metadata__.format',
          `is ${is ? quote(is) : 'a safetensors file without a format'}, not ${quote(format)}`,
          {
            expected: format,
            actual: String(is),
          },
        )
      if (metadata.get('version') !== '1')
        throw badCheckpoint(
          file,
          '__metadata__.version',
          `has version ${quote(String(metadata.get('version')))} of its format; this clip-native reads version "1"`,
          { expected: '1', actual: String(metadata.get('version')) },
        )
      const tensors = new Map<string, Tensor & { offset: number }>()
      let about: Json
      for (const found of table.found.values()) {
        const tensor = await found.place()
        const bytes = tensor.shape.reduce((n, size) => n * size, 1) * (tensor.dtype === 'U8' ? 1 : 4)
        if (tensor.name === 'about' && tensor.dtype === 'U8' && bytes <= LARGEST_ABOUT) {
          const text = await source.textPieces(tensor.offset, bytes, 'about')
          try {
            about = await inSlices(parseJson(text, ABOUT_LIMITS), signal)
          } catch (cause) {
            if (!(cause instanceof JsonError)) throw cause
            throw badCheckpoint(file, 'about', `\`about\` is not JSON: ${cause.message}`, { cause })
          }
        } else if (tensor.dtype === 'F32') {
          const read = await source.read(tensor.offset, bytes)
          const data = allocate(Float32Array, `tensor ${quote(tensor.name)}`, bytes / 4)
          await copySlices(bytesOf(data), read, 0)
          tensors.set(tensor.name, { data, shape: tensor.shape, offset: tensor.offset })
        } else
          throw badCheckpoint(
            file,
            tensor.name,
            `tensor ${quote(tensor.name)} is ${tensor.dtype} ${shapeText(tensor.shape)}, which such a file does not have`,
          )
      }
      if (about! === undefined) throw badCheckpoint(file, 'about', 'has no tensor `about`')
      return new TensorFile(file, metadata, about, source.bytes, tensors)
    } finally {
      await source.close()
    }
  }

  /** A tensor of this shape (-1: any size of 1 or more); throws ERR_CLIP_CHECKPOINT otherwise. */
  tensor(name: string, shape: readonly number[]): Tensor {
    const tensor = this.tensors.get(name)
    if (!tensor) throw badCheckpoint(this.file, name, `tensor ${quote(name)} is missing`)
    const fits =
      tensor.shape.length === shape.length &&
      tensor.shape.every((n, i) => (shape[i] === -1 ? n >= 1 : n === shape[i]))
    const wanted = `[${shape.map(n => (n === -1 ? 'any' : n)).join(', ')}]`
    if (!fits)
      throw badCheckpoint(
        this.file,
        name,
        `expected tensor ${quote(name)} to be ${wanted}, got ${shapeText(tensor.shape)}`,
        { expected: wanted, actual: shapeText(tensor.shape) },
      )
    return tensor
  }

  /** Where a tensor's bytes lie in the file. */
  offsetOf(name: string): number {
    return this.tensors.get(name)!.offset
  }

  /** A finite number of the metadata; throws ERR_CLIP_CHECKPOINT otherwise. */
  number(name: string): number {
    const text = this.metadata.get(name)
    const value = text === undefined || text.trim() === '' ? Number.NaN : Number(text)
    if (!Number.isFinite(value))
      throw badCheckpoint(
        this.file,
        `__metadata__.${name}`,
        `expected \`${name}\` to be a number, got ${text === undefined ? 'nothing' : quote(text)}`,
      )
    return value
  }

  /** A word of the metadata; throws ERR_CLIP_CHECKPOINT if it is missing. */
  word<const T extends string>(name: string, choices: readonly T[]): T {
    const value = this.metadata.get(name)
    if (choices.includes(value as T)) return value as T
    throw badCheckpoint(
      this.file,
      `__metadata__.${name}`,
      `expected \`${name}\` to be one of ${choices.join(', ')}, got ${value === undefined ? 'nothing' : quote(value)}`,
    )
  }
}
