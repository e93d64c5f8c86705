/** Stacks of the package's errors: they begin where the package was called, not inside it. */

import { dirname, sep } from 'node:path'
import { types } from 'node:util'

/** dist/lib, the folder of the package's own frames. In a bundle there is no such folder: the caller's frames would be removed as well. */
const own = /[\\/]dist[\\/]lib[\\/]base$/.test(__dirname) ? dirname(__dirname) + sep : undefined
/** Number of frames that are searched for the caller. */
const DEEPEST = 40

const isOwn = (line: string) => line.includes(own!)
const isCallers = (line: string) =>
  !isOwn(line) && !/\((?:node:|<anonymous>|native\))|^\s*at (?:async )?(?:node:|Promise\.)/.test(line)

/** The lines of a stack below its message. */
const linesOf = (stack: string, at: number): string[] => stack.slice(at + 1).split('\n')
const begin = '\n    at '

/**
 * Captures the error's stack again, without the frames inside this package. CLIP_NATIVE_STACK=full keeps them, and they also
 * stay if the caller can't be found. Call it once the error has its name and message.
 */
export function fromCaller<E extends Error>(error: E): E {
  const limit = Error.stackTraceLimit
  if (!own || !(limit > 0) || process.env.CLIP_NATIVE_STACK === 'full') return error
  try {
    Error.stackTraceLimit = Math.max(limit, DEEPEST)
    Error.captureStackTrace(error, fromCaller)
    Error.stackTraceLimit = limit
    const { stack } = error
    const at = typeof stack === 'string' ? stack.indexOf(begin) : -1
    if (at < 0) return error
    const lines = linesOf(stack!, at)
    const first = lines.findIndex(isCallers)
    const kept = first < 0 ? lines : lines.slice(first).filter(line => !isOwn(line))
    error.stack = `${stack!.slice(0, at)}\n${kept.slice(0, limit).join('\n')}`
  } catch {
    // If Error was frozen, or the stack can't be read, it stays as it is.
  } finally {
    if (Error.stackTraceLimit !== limit) Error.stackTraceLimit = limit
  }
  return error
}

interface Place {
  stack?: string
}

/** Gives an error of this package the stack of the call. */
function fromPlace(error: unknown, place: Place): unknown {
  if (!own || !types.isNativeError(error) || process.env.CLIP_NATIVE_STACK === 'full') return error
  const { code } = error as NodeJS.ErrnoException
  if (typeof code !== 'string' || !code.startsWith('ERR_CLIP_')) return error
  const { stack } = error
  const at = typeof stack === 'string' ? stack.indexOf(begin) : -1
  const calledAt = place.stack?.indexOf(begin) ?? -1
  if (at >= 0 && calledAt >= 0) {
    const lines = linesOf(place.stack!, calledAt)
    const first = lines.findIndex(isCallers)
    if (first >= 0) error.stack = `${stack!.slice(0, at)}\n${lines.slice(first).join('\n')}`
  }
  return error
}

/**
 * Runs a public function. Its errors get the stack of the call, which parts of the work (a queue, a window of images) no longer
 * know, and which is lost entirely if the caller does not await. Recording the place takes a microsecond.
 */
export async function traced<T>(entry: (...args: never[]) => unknown, work: () => Promise<T>): Promise<T> {
  const place: Place = {}
  if (own) Error.captureStackTrace(place, entry)
  try {
    return await work()
  } catch (error) {
    throw fromPlace(error, place)
  }
}

/** Does the same for every method of a class that returns a promise. */
export function traceMethods(ofClass: { prototype: object }): void {
  const { prototype } = ofClass
  for (const name of Object.getOwnPropertyNames(prototype)) {
    const found = Object.getOwnPropertyDescriptor(prototype, name)!
    const { value } = found
    if (name === 'constructor' || typeof value !== 'function' || types.isGeneratorFunction(value)) continue
    const method = function (this: unknown, ...args: unknown[]): unknown {
      const place: Place = {}
      if (own) Error.captureStackTrace(place, method)
      const result = value.apply(this, args)
      if (!types.isPromise(result)) return result
      return result.catch(error => {
        throw fromPlace(error, place)
      })
    }
    Object.defineProperties(method, { name: { value: name }, length: { value: value.length } })
    Object.defineProperty(prototype, name, { ...found, value: method })
  }
}
