/**
 * safetensors: u64 length, a JSON header {name: {dtype, shape, data_offsets}}, then the data.
 * Checked as the reference implementation (huggingface/safetensors, src/tensor.rs) does: ranges lie in the data, fit
 * dtype and shape, and follow each other without overlap or hole up to the end of the file.
 */

import { HEADER_LIMITS, type Json, JsonError, type JsonObject, parseJson } from '../base/json.js'
import { inSlices, sorted } from '../base/slices.js'
import { badCheckpoint, type Pace, quote, shapeText } from './errors.js'
import { kindOfJson } from './fields.js'
import type { SourceFile } from './source-file.js'
import { contiguous, ITEM_BYTES, MOST_DIMENSIONS, type StoredTensor, type TensorTable } from './tensors.js'

/** Maximum size of the header. 20 000 tensors need 6 MB; the format allows 100 MB. */
export const LARGEST_HEADER = 32 << 20

/** Reads the header of `file` into `table`, which then owns the file; returns its `__metadata__`. */
export async function readSafetensors(
  file: SourceFile,
  table: TensorTable,
  pace: Pace,
): Promise<ReadonlyMap<string, string>> {
  if (file.bytes < 8)
    throw badCheckpoint(file.path, 'header', `is ${file.bytes} bytes, too short for a safetensors file`)
  const length = Number((await file.read(0, 8)).readBigUInt64LE(0))
  if (length > LARGEST_HEADER)
    throw badCheckpoint(
      file.path,
      'header',
      `safetensors header of ${length} bytes, more than the ${LARGEST_HEADER} that are read`,
    )
  if (8 + length > file.bytes)
    throw badCheckpoint(
      file.path,
      'header',
      `safetensors header of ${length} bytes does not fit the file's ${file.bytes}: the file is cut off or of another format`,
    )
  const index = table.addFile(file)
  const header = await parseHeader(file, length, pace)
  const start = 8 + length
  const ranges: { name: string; begin: number; end: number }[] = []
  let metadata: ReadonlyMap<string, string> = new Map()
  for (const [name, value] of header) {
    if (name === '__metadata__') {
      metadata = checkedMetadata(file, value)
      continue
    }
    const { tensor, begin, end } = entry(file, name, value, index, start)
    ranges.push({ name, begin, end })
    table.add(index, {
      name,
      shape: tensor.shape,
      same: String(begin),
      place: async () => tensor,
    })
    if ((ranges.length & 63) === 0 && pace.spent()) await pace.turn()
  }
  const inOrder = await inSlices(
    sorted(ranges, (a, b) => a.begin - b.begin || a.end - b.end),
    pace.signal,
  )
  let at = 0
  let before = ''
  for (const { name, begin, end } of inOrder) {
    if (begin < at)
      throw badCheckpoint(
        file.path,
        name,
        `the data of ${quote(name)} (from ${begin}) overlaps that of ${quote(before)} (up to ${at})`,
      )
    if (begin > at)
      throw badCheckpoint(
        file.path,
        name,
        `${begin - at} bytes between the data of ${before ? quote(before) : 'the header'} and ${quote(name)} belong to no tensor`,
      )
    at = end
    before = name
  }
  if (at !== file.bytes - start)
    throw badCheckpoint(
      file.path,
      before || 'header',
      `its tensors end at byte ${at} of the data, but the file has ${file.bytes - start}`,
      {
        expected: String(at),
        actual: String(file.bytes - start),
      },
    )
  return metadata
}

async function parseHeader(file: SourceFile, length: number, pace: Pace): Promise<JsonObject> {
  if (length < 2 || (await file.read(8, 1))[0] !== 0x7b)
    throw badCheckpoint(file.path, 'header', 'the safetensors header does not begin with {')
  const text = await file.textPieces(8, length, 'header')
  let header: Json
  try {
    header = await inSlices(parseJson(text, HEADER_LIMITS), pace.signal)
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause
    throw badCheckpoint(file.path, 'header', `the safetensors header is not JSON: ${cause.message}`, {
      cause,
    })
  }
  pace.restart()
  if (!(header instanceof Map))
    throw badCheckpoint(
      file.path,
      'header',
      `expected the safetensors header to be an object, got ${kindOfJson(header)}`,
    )
  return header
}

function checkedMetadata(file: SourceFile, value: Json): ReadonlyMap<string, string> {
  if (!(value instanceof Map) || [...value.values()].some(v => typeof v !== 'string'))
    throw badCheckpoint(file.path, '__metadata__', 'expected `__metadata__` to map strings to strings')
  return value as Map<string, string>
}

const isSize = (value: Json): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0

function entry(
  file: SourceFile,
  name: string,
  value: Json,
  index: number,
  start: number,
): { tensor: StoredTensor; begin: number; end: number } {
  const fail = (message: string, expected?: string, actual?: string) =>
    badCheckpoint(file.path, name, `tensor ${quote(name)}: ${message}`, { expected, actual })
  if (!(value instanceof Map)) throw fail(`expected {dtype, shape, data_offsets}, got ${kindOfJson(value)}`)
  for (const key of value.keys())
    if (key !== 'dtype' && key !== 'shape' && key !== 'data_offsets') throw fail(`unknown key ${quote(key)}`)
  const dtype = value.get('dtype')
  if (typeof dtype !== 'string' || !Object.hasOwn(ITEM_BYTES, dtype))
    throw fail(`unknown dtype ${kindOfJson(dtype)}`, Object.keys(ITEM_BYTES).join(', '), kindOfJson(dtype))
  const shape = value.get('shape')
  if (!Array.isArray(shape) || shape.length > MOST_DIMENSIONS || !shape.every(isSize))
    throw fail(`expected \`shape\` to be at most ${MOST_DIMENSIONS} sizes, got ${kindOfJson(shape)}`)
  const offsets = value.get('data_offsets')
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize) || offsets[0] > offsets[1])
    throw fail(`expected \`data_offsets\` to be [begin, end], got ${kindOfJson(offsets)}`)
  const [begin, end] = offsets as number[]
  // A product above 2^53 is not exact as a double, but no file is that large.
  const bytes = (shape as number[]).reduce((product, n) => product * n, ITEM_BYTES[dtype])
  if (bytes !== end - begin)
    throw fail(
      `${dtype} ${shapeText(shape as number[])} takes ${bytes} bytes, but \`data_offsets\` give it ${end - begin}`,
      String(bytes),
      String(end - begin),
    )
  if (start + end > file.bytes)
    throw fail(
      `its data ends at byte ${start + end}, the file at ${file.bytes}`,
      String(start + end),
      String(file.bytes),
    )
  return {
    tensor: {
      name,
      file: index,
      dtype,
      shape: shape as number[],
      strides: contiguous(shape as number[]),
      offset: start + begin,
    },
    begin,
    end,
  }
}
