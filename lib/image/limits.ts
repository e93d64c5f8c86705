/** Limits of what a decoder may be asked to do, and the data that it gets. */

import { Slices } from '../base/slices.js'
import type { Edit, Header } from './formats/facts.js'
import { checkPixels } from './input.js'
import { type ImageOrigin, imageError } from './source.js'

/** Maximum width and height of an encoded image in pixels: each row and column costs time. */
export const MAX_SIDE = 1_000_000

/** Memory limit of a decoder: bytes per pixel of `maxPixels`, and the minimum limit. */
const BYTES_PER_PIXEL = 8
const LEAST_BYTES = 64 * 1024 * 1024

/** Throws ERR_CLIP_IMAGE, from the header alone, for an image that has too many pixels, is too long or needs too much memory. */
export function checkDecoder(
  { width, height }: { width: number; height: number },
  header: Header,
  maxPixels: number,
  from: ImageOrigin,
): void {
  checkPixels(width, height, maxPixels, from)
  if (Math.max(width, height) > MAX_SIDE)
    throw imageError(`has ${width} x ${height} pixels: no side may have more than ${MAX_SIDE}`, from, {
      expected: `sides of at most ${MAX_SIDE} pixels`,
      actual: `${width} x ${height} pixels`,
    })
  const most = Math.max(maxPixels * BYTES_PER_PIXEL, LEAST_BYTES)
  const bytes = header.decoderBytes(width, height)
  if (bytes <= most) return
  const megabytes = (n: number) => `${Math.ceil(n / 1e6)} MB`
  throw imageError(
    `has ${width} x ${height} pixels, and decoding a ${header.format} like this takes ${megabytes(bytes)}, more than the ${megabytes(most)} that \`maxPixels\` (${maxPixels}, ${BYTES_PER_PIXEL} bytes for each) allows`,
    from,
    { expected: `at most ${megabytes(most)}`, actual: megabytes(bytes) },
  )
}

const PIECE = 512 * 1024

const SCAN = Buffer.from([0xff, 0xda])

/** Throws ERR_CLIP_IMAGE for a JPEG with very many scans, because the decoder processes the whole image for each of them. */
export async function checkScans(
  bytes: Uint8Array,
  { scans }: Header,
  from: ImageOrigin,
  signal?: AbortSignal,
): Promise<void> {
  if (!scans) return
  const slices = new Slices()
  let found = 0
  for (let start = scans.from; start < bytes.length; start += PIECE) {
    // One byte more, for a marker that is split between two pieces.
    const piece = Buffer.from(
      bytes.buffer,
      bytes.byteOffset + start,
      Math.min(PIECE + 1, bytes.length - start),
    )
    for (let at = piece.indexOf(SCAN); at >= 0 && found <= scans.most; at = piece.indexOf(SCAN, at + 2))
      found++
    if (found > scans.most)
      throw imageError(`is a JPEG of more than ${scans.most} scans`, from, {
        expected: `at most ${scans.most} scans in an image of this size`,
        actual: 'more',
      })
    if (slices.due()) await slices.pause(signal)
  }
}

/** The data for the decoder: a copy only if it differs from the file. */
export async function editedBytes(
  bytes: Uint8Array,
  header: Header,
  orient: boolean,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const edit = (orient ? undefined : header.unturn) ?? header.edit
  return edit ? apply(edit, bytes, signal) : bytes
}

async function apply({ pieces, tail = [], patches = [] }: Edit, bytes: Uint8Array, signal?: AbortSignal) {
  const slices = new Slices()
  const out = new Uint8Array(pieces.reduce((sum, [from, to]) => sum + to - from, 0) + tail.length)
  let at = 0
  for (const [from, to] of pieces)
    for (let start = from; start < to; start += PIECE) {
      const piece = bytes.subarray(start, Math.min(to, start + PIECE))
      out.set(piece, at)
      at += piece.length
      if (slices.due()) await slices.pause(signal)
    }
  out.set(tail, at)
  for (const [place, values] of patches) out.set(values, place)
  return out
}
