/** A system without threads, memory or file descriptors is told from a file that can't be read. */

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { exhausted } from '../../lib/image/exhausted.js'

const from = { field: 'image', file: 'a.png' }

/** Seen from sharp 0.35 when threads or allocations of libvips failed one by one, from Node, and in issues of sharp. */
const systems: Record<string, [said: string, advice: RegExp]> = {
  'glib, a thread': ['glib: Error creating thread: Resource temporarily unavailable', /ulimit -u/],
  'glib in the renderer of SVG': [
    "SVG: its renderer ended with SIGTRAP: (process:7): GLib-ERROR **: creating thread '[pango] fontconfig': Error creating thread: Resource temporarily unavailable",
    /ulimit -u/,
  ],
  'Node in the renderer of SVG': [
    'SVG: its renderer ended with SIGABRT: # Assertion failed: (0) == (uv_thread_create(t.get(), start_thread, this))',
    /ulimit -u/,
  ],
  'the start of the renderer, a process': [
    'SVG: its renderer could not be started: spawn /usr/bin/node EAGAIN',
    /ulimit -u/,
  ],
  'the start of the renderer, a file': [
    'SVG: its renderer could not be started: spawn /usr/bin/node EMFILE',
    /ulimit -n/,
  ],
  'libheif, a thread': [
    'source: bad seek to 4510\nsource: bad seek to 4493\nglib: Error creating thread: Resource temporarily unavailable',
    /ulimit -u/,
  ],
  'libheif, memory': [
    'source: bad seek to 4510\nheif: Memory allocation error: Unspecified: Allocating 262159 bytes failed (6.0)',
    /memory/,
  ],
  'a decoder in libheif': ['heif: Invalid input: Unspecified: Memory allocation error (2.0)', /memory/],
  libvips: ['vips_tracked: out of memory -- size == 17MB', /memory/],
  'libvips in a header': [
    'Input buffer has corrupt header: vips_tracked: out of memory -- size == 8MB',
    /memory/,
  ],
  libjpeg: ['VipsJpeg: Insufficient memory (case 4)', /memory/],
  glib: ['GLib-ERROR **: ../glib/gmem.c:106: failed to allocate 24 bytes', /memory/],
  'the C++ library': ['std::bad_alloc', /memory/],
  'the C library': ['unable to map: Cannot allocate memory', /memory/],
  V8: ['Array buffer allocation failed', /memory/],
  'an open file': ['source: unable to open "x": Too many open files', /ulimit -n/],
  'a library that is not mapped': [
    'libvips-cpp.so.8: failed to map segment from shared object: Cannot allocate memory',
    /memory/,
  ],
}
for (const [name, [message, advice]] of Object.entries(systems))
  test(`an image that the system could not decode rejects with ERR_CLIP_MEMORY: ${name}`, t => {
    const cause = new Error(message)
    const error = exhausted(cause, from)
    t.is(error?.code, 'ERR_CLIP_MEMORY')
    t.is(error?.file, 'a.png')
    t.is(error?.cause, cause)
    t.regex(error!.message, /^a\.png was not decoded, because the system refused to /)
    t.regex(error!.message, advice)
  })

const files: Record<string, string> = {
  'a limit of libheif':
    'heif: Memory allocation error: Security limit exceeded: Allocating 4000000000 bytes exceeds the security limit of 500000000 bytes (6.1000)',
  'a limit of libtiff':
    'tiff2vips: Memory allocation of 99999999999 bytes is beyond the 52428800 byte limit defined in open options',
  'a file cut short': 'VipsJpeg: premature end of JPEG image',
  'a frame that is damaged':
    'source: bad seek to 4510\nheif: Invalid input: Unspecified: Corrupt frame detected (2.0)',
  'no image': 'Input buffer contains unsupported image format',
}
for (const [name, message] of Object.entries(files))
  test(`an image that is not readable rejects with ERR_CLIP_IMAGE: ${name}`, t => {
    t.is(exhausted(new Error(message), from), undefined)
    t.is(exhausted(message, from), undefined)
  })

const here = process.platform === 'linux' ? test : test.skip
here(
  'without a free file descriptor SVG is not called unreadable, and is rendered when there is one',
  async t => {
    const script = `
    const { openSync, closeSync } = require('node:fs')
    const { decodeImage } = require(${JSON.stringify(join(packageRoot, 'dist/lib/image/decode.js'))})
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="5" height="4"/>')
    const draw = () => decodeImage(svg, { svg: true })
    const main = async () => {
      require('sharp')
      const taken = []
      try { for (;;) taken.push(openSync('/dev/null')) } catch {}
      const error = await draw().catch(error => error)
      for (const fd of taken) closeSync(fd)
      const { width, height } = await draw()
      console.log(JSON.stringify({ code: error.code, message: error.message, width, height }))
    }
    main()`
    const { stdout } = await promisify(execFile)(
      'sh',
      ['-c', 'ulimit -n 100; exec "$0" -e "$1"', process.execPath, script],
      {
        cwd: packageRoot,
      },
    )
    const { code, message, width, height } = JSON.parse(stdout)
    t.is(code, 'ERR_CLIP_MEMORY')
    t.regex(message, /EMFILE.*ulimit -n/)
    t.deepEqual([width, height], [5, 4])
  },
)
