/**
 * Recognises the errors of decoders that could not get a thread, memory or a file descriptor from the system. They are not
 * the fault of the image: the same file can be read a moment later, so it must not be reported as unreadable.
 */

import { ClipError } from '../base/errors.js'
import { type ImageOrigin, nameOf } from './source.js'

interface Lack {
  what: string
  /** Messages of glib, libvips, its decoders, Node, V8 and the C library. */
  said: RegExp
  advice: string
}

const LACKS: Lack[] = [
  {
    what: 'start a thread or process',
    said: /\b(creat|start|spawn)\w* (a |the )?(new )?(thread|process)|thread_create|temporarily unavailable|\bEAGAIN\b/i,
    advice: 'raise the limit of processes and threads (`ulimit -u`, or that of the container), or end some',
  },
  {
    what: 'open another file',
    said: /too many open files|\b(EMFILE|ENFILE)\b/i,
    advice: 'raise the limit of open files (`ulimit -n`), or read fewer images at the same time',
  },
  {
    what: 'give more memory',
    said: /(out of|no|not enough|insufficient|cannot allocate|allocate) memory\b|memory allocation error|\b(memory )?allocati(on|ng)( of)? \d+ bytes failed|failed to (re)?alloc|bad_alloc|buffer allocation failed|\bENOMEM\b|failed to map segment|static TLS/i,
    advice:
      'raise the limit of memory, use fewer `threads`, or lower `maxPixels` so that large images are refused',
  },
]

/** Messages of the decoders' own limits, which are the fault of a file that needs too much. */
const LIMIT = /security limit|byte limit|memory limits?|exceed|isize::MAX/i

/** ERR_CLIP_MEMORY if an error says that the system lacks a resource; otherwise undefined. */
export function exhausted(cause: unknown, from: ImageOrigin): ClipError | undefined {
  const { message, code } = (cause ?? {}) as NodeJS.ErrnoException
  const lines = [...String(message ?? cause).split('\n'), ...(typeof code === 'string' ? [code] : [])]
  for (const { what, said, advice } of LACKS) {
    const line = lines.find(one => said.test(one) && !LIMIT.test(one))
    if (line === undefined) continue
    const actual = line.trim().slice(0, 200)
    return new ClipError(
      'ERR_CLIP_MEMORY',
      `${nameOf(from)} was not decoded, because the system refused to ${what} (${actual}): ${advice}`,
      { ...from, actual, cause },
    )
  }
  return undefined
}
