/**
 * AVIF and HEIC: reads the boxes with the image's size and rotation, and the coded size in its data (ISO/IEC 14496-12 and
 * 23008-12; AV1 specification, section 5.5).
 */

import { av1Size } from './av1.js'
import { type Edit, type Header, viewOf } from './facts.js'
import type { Format } from './recognise.js'

const MOST_BOXES = 20_000
/** Boxes that rotate or mirror an image, which Pillow does not apply. */
const TURNS = new Set(['irot', 'imir'])
/** A rotation by 0, which replaces another box so that the numbering of the boxes does not change. */
const NO_TURN = [...Buffer.from('irot\0', 'latin1')]

interface Box {
  type: string
  /** Of its content. */
  start: number
  end: number
}

class Boxes {
  #left = MOST_BOXES
  readonly #view: DataView

  constructor(private readonly bytes: Uint8Array) {
    this.#view = viewOf(bytes)
  }

  /** The boxes between two positions; ends early if they are damaged or too many. */
  *within(start: number, end: number): Generator<Box, void, void> {
    for (let at = start; at + 8 <= end && this.#left-- > 0; ) {
      let size = this.#view.getUint32(at)
      let header = 8
      if (size === 1) {
        if (at + 16 > end) return
        size = Number(this.#view.getBigUint64(at + 8))
        header = 16
      } else if (size === 0) size = end - at
      if (size < header || at + size > end) return
      const type = String.fromCharCode(...this.bytes.subarray(at + 4, at + 8))
      yield { type, start: at + header, end: at + size }
      at += size
    }
  }
}

interface Extent {
  offset: number
  length: number
}

/** iloc: where the coded data of the items is in the file. */
function* locations(bytes: Uint8Array, { start, end }: Box): Generator<Extent, void, void> {
  const view = viewOf(bytes)
  let at = start
  const read = (size: number) => {
    if (at + size > end) throw new RangeError('it ends within iloc')
    const value =
      size === 0
        ? 0
        : size === 2
          ? view.getUint16(at)
          : size === 4
            ? view.getUint32(at)
            : size === 8
              ? Number(view.getBigUint64(at))
              : Number.NaN
    at += size
    return value
  }
  const version = read(4) >>> 24
  const sizes = read(2)
  const [offsetSize, lengthSize, baseSize] = [sizes >> 12, (sizes >> 8) & 15, (sizes >> 4) & 15]
  const indexSize = version > 0 ? sizes & 15 : 0
  const items = read(version < 2 ? 2 : 4)
  for (let i = 0; i < items && i < 4096; i++) {
    read(version < 2 ? 2 : 4)
    const method = version > 0 ? read(2) & 15 : 0
    read(2)
    const base = read(baseSize)
    const extents = read(2)
    for (let e = 0; e < extents; e++) {
      read(indexSize)
      const offset = base + read(offsetSize)
      const length = read(lengthSize)
      if (e === 0 && method === 0) yield { offset, length }
    }
  }
}

export function readHeif(bytes: Uint8Array, format: Format): Header {
  const header: Header = { format, decoderBytes: () => 0 }
  try {
    return { ...header, ...readBoxes(bytes, format) }
  } catch {
    return { ...header, refused: 'its header is damaged' }
  }
}

function readBoxes(
  bytes: Uint8Array,
  format: Format,
): Pick<Header, 'size' | 'decoderBytes' | 'edit' | 'unturn' | 'refused'> {
  const boxes = new Boxes(bytes)
  const view = viewOf(bytes)
  let [width, height] = [0, 0]
  let deep = false
  const add = (size: { width: number; height: number } | undefined) => {
    if (!size) return
    // Of several parts (a grid, an image and its alpha, a thumbnail) take the largest, with both dimensions from the same part.
    if (size.width * size.height > width * height) {
      width = size.width
      height = size.height
    }
  }
  const turns: NonNullable<Edit['patches']> = []
  const crops: NonNullable<Edit['patches']> = []
  for (const top of boxes.within(0, bytes.length)) {
    if (top.type !== 'meta') continue
    for (const box of boxes.within(top.start + 4, top.end)) {
      if (box.type === 'iloc')
        for (const { offset, length } of locations(bytes, box)) {
          const item = bytes.subarray(offset, length > 0 ? offset + length : bytes.length)
          add(av1Size(item))
        }
      if (box.type !== 'iprp') continue
      for (const list of boxes.within(box.start, box.end)) {
        if (list.type !== 'ipco') continue
        for (const property of boxes.within(list.start, list.end)) {
          const { type, start, end } = property
          if (type === 'ispe' && start + 12 <= end)
            add({ width: view.getUint32(start + 4), height: view.getUint32(start + 8) })
          // Bits 6 and 5 of av1C's third byte: 10 or 12 bits per sample.
          if (type === 'av1C' && start + 3 <= end && bytes[start + 2]! & 0x60) deep = true
          if (TURNS.has(type) && start < end) turns.push([start - 4, NO_TURN])
          // Pillow ignores a clean aperture and shows the whole image.
          if (type === 'clap' && start < end) crops.push([start - 4, NO_TURN])
        }
      }
    }
  }
  const edits = (name: 'edit' | 'unturn', patches: NonNullable<Edit['patches']>) =>
    patches.length > 0 ? { [name]: { pieces: [[0, bytes.length]], patches } satisfies Edit } : {}
  const perPixel = format === 'HEIC' ? 10 : deep ? 30 : 20
  return {
    decoderBytes: (w, h) => perPixel * w * h,
    ...(width > 0 && height > 0 ? { size: { width, height } } : { refused: 'its header has no size' }),
    ...edits('edit', crops),
    ...edits('unturn', turns.length > 0 ? [...turns, ...crops] : []),
  }
}
