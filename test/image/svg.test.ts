/** SVG is not rendered unless asked for, however it is wrapped, and can be stopped where it is. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { decodeImage } from '../../lib/image/decode.js'
import type { DecodedImage } from '../../lib/image/pixels.js'
import { type ClipError, load } from '../../lib/index.js'

const svg =
  '<svg xmlns="http://www.w3.org/2000/svg" width="12" height="8"><rect width="12" height="8" fill="#102030"/></svg>'
const prolog = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x">\n'
const utf16 = (text: string, big: boolean) => {
  const bytes = Buffer.from(`\ufeff${text}`, 'utf16le')
  return big ? bytes.swap16() : bytes
}

const wrapped: Record<string, Uint8Array> = {
  'as it is': Buffer.from(svg),
  'with a prolog and a document type': Buffer.from(prolog + svg),
  'behind a byte order mark': Buffer.from(`\ufeff${svg}`),
  'behind 300 blanks': Buffer.from(' '.repeat(300) + svg),
  'behind 100 000 blanks and newlines': Buffer.from(' \n\t\r'.repeat(25_000) + svg),
  'behind two million blanks': Buffer.from(' '.repeat(2_000_000) + svg),
  'behind a comment': Buffer.from(`<!-- ${'no svg here '.repeat(200)} -->\n${svg}`),
  'behind a processing instruction': Buffer.from(`<?xml-stylesheet href="x"?>${svg}`),
  'with a prefix': Buffer.from(
    svg.replace('<svg xmlns=', '<s:svg xmlns:s=').replace('</svg>', '</s:svg>').replace('<rect', '<s:rect'),
  ),
  'in UTF-16, little end first': utf16(svg, false),
  'in UTF-16, big end first': utf16(svg, true),
  'in UTF-16 without a mark': Buffer.from(svg, 'utf16le'),
  'with entities': Buffer.from(`<!DOCTYPE svg [<!ENTITY a "b">]>${svg}`),
  compressed: gzipSync(svg),
  'compressed twice': gzipSync(gzipSync(svg)),
}

for (const [name, bytes] of Object.entries(wrapped))
  test(`an SVG is refused without the option svg: ${name}`, async t => {
    const error = (await t.throwsAsync(decodeImage(bytes))) as ClipError
    t.is(error.code, 'ERR_CLIP_IMAGE')
    t.regex(error.message, /not rendered unless `svg: true`/)
  })

const others: Record<string, [bytes: Buffer, name: RegExp]> = {
  PDF: [Buffer.from('%PDF-1.7\n1 0 obj'), /PDF/],
  'PDF behind other bytes': [Buffer.from('\x01\x02junk\n%PDF-1.7\n1 0 obj'), /PDF/],
  PostScript: [Buffer.from('%!PS-Adobe-3.0 EPSF-3.0'), /PostScript/],
  'a drawing of ImageMagick': [Buffer.from('push graphic-context\nimage over 0,0 0,0 "x"'), /text/],
  FITS: [Buffer.from('SIMPLE  =                    T'.padEnd(2880)), /FITS/],
  Netpbm: [Buffer.from('P6\n2 2\n255\n123456789012'), /Netpbm/],
  Radiance: [Buffer.from('#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n....'), /Radiance/],
  libvips: [Buffer.from([0xb6, 0xa6, 0xf2, 0x08, ...new Array(100).fill(0)]), /libvips/],
  MATLAB: [Buffer.from('MATLAB 5.0 MAT-file, Platform'), /MATLAB/],
  'JPEG XL': [Buffer.from([0xff, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), /JPEG XL/],
  'JPEG 2000': [Buffer.from('\0\0\0\x0cjP  \r\n\x87\n', 'latin1'), /JPEG 2000/],
  'a zip archive': [Buffer.from('PK\x03\x04mimetypeimage/openraster'), /zip/],
  'a table of numbers': [Buffer.from('1,2,3\n4,5,6\n7,8,9\n'), /text/],
  'a video': [Buffer.from('\0\0\0\x18ftypmp42\0\0\0\0mp42isom', 'latin1'), /video/],
}
for (const [name, [bytes, said]] of Object.entries(others))
  test(`${name} never reaches a decoder, whatever libvips was built with`, async t => {
    for (const svg of [false, true]) {
      const error = (await t.throwsAsync(decodeImage(bytes, { svg }))) as ClipError
      t.is(error.code, 'ERR_CLIP_IMAGE')
      t.regex(error.message, said)
    }
  })

test('an SVG is rendered with the option svg, compressed or not, alone and in an array', async t => {
  for (const bytes of [
    wrapped['as it is']!,
    wrapped.compressed!,
    wrapped['with a prolog and a document type']!,
  ]) {
    const image = (await decodeImage(bytes, { svg: true })) as DecodedImage
    t.deepEqual([image.width, image.height, image.mode], [12, 8, 'RGBA'])
    t.deepEqual([...image.data.subarray(0, 4)], [0x10, 0x20, 0x30, 255])
  }
  const clip = await load(undefined, { threads: 1, svg: true })
  const file = join(packageRoot, 'docs', 'paper-shape', 'prompt-gain.svg')
  const one = await clip.encodeImage(file)
  const many = await clip.encodeImage([file, readFileSync(file), wrapped.compressed!])
  t.deepEqual(many.row(0), one.row(0))
  t.deepEqual(many.row(1), one.row(0))
  const error = (await t.throwsAsync(clip.encodeImage(gzipSync('no image')))) as ClipError
  t.is(error.code, 'ERR_CLIP_IMAGE')
  await clip.dispose()
})

test('a drawing that never ends is stopped after decodeTimeout or at an abort, and the next one is drawn', async t => {
  const blur = `<svg xmlns="http://www.w3.org/2000/svg" width="3000" height="3000"><filter id="f"><feMorphology operator="dilate" radius="500"/></filter><g filter="url(#f)"><rect width="3000" height="3000"/></g></svg>`
  const clip = await load(undefined, { threads: 1, svg: true, decodeTimeout: 1500 })
  const endless = gzipSync(blur)
  const late = (await t.throwsAsync(clip.encodeImage(endless))) as ClipError
  t.is(late.code, 'ERR_CLIP_IMAGE')
  t.regex(late.message, /`decodeTimeout` \(1500 ms\)/)
  const stop = new AbortController()
  const enough = new Error('enough')
  setTimeout(() => stop.abort(enough), 200)
  t.is(await t.throwsAsync(clip.encodeImage([endless, endless], { signal: stop.signal })), enough)
  t.is((await clip.encodeImage(Buffer.from(svg))).shape[0], 1)
  await clip.dispose()
})

test('a drawing larger than maxPixels is refused by its size', async t => {
  const large = Buffer.from(
    svg.replace('width="12"', 'width="20000"').replace('height="8"', 'height="20000"'),
  )
  const error = (await t.throwsAsync(decodeImage(large, { svg: true }))) as ClipError
  t.regex(error.message, /20000 x 20000 pixels, more than `maxPixels`/)
})
