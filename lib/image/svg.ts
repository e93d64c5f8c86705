/**
 * Renders SVG in a separate process, one image at a time, because a few bytes of SVG can cause unlimited work, and work on
 * libvips' threads can't be stopped. The process is killed on abort and at the time limit, and exits when it has been idle
 * for a while.
 */

import { type ChildProcess, fork } from 'node:child_process'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { type TimeLimit, untilAborted } from '../base/abort.js'
import { Semaphore } from './gate.js'

/** A request to the process; it handles one at a time. */
export interface SvgRequest {
  bytes: Uint8Array
  /** Maximum number of pixels to render; undefined asks only for the size. */
  maxPixels?: number
}

/** The reply. */
export interface SvgAnswer {
  width: number
  height: number
  channels?: number
  data?: Uint8Array
  /** Why the image could not be rendered. */
  fault?: string
}

interface SvgOptions {
  limit: TimeLimit
  signal: AbortSignal | undefined
  /** The error of a file that can't be rendered. */
  wrong(message: string): Error
}

interface Renderer {
  child: ChildProcess
  /** The last output on stderr, where libraries write the reason before they abort the process. */
  words: string
}

const IDLE_MS = 5000
const turn = new Semaphore(1)
let running: Renderer | undefined
let idle: NodeJS.Timeout | undefined

/** Starts the process. It keeps this process alive only while a call waits for it. Throws if `fork` throws. */
function start(): Renderer {
  clearTimeout(idle)
  if (!running) {
    const child = fork(join(__dirname, 'svg-renderer.js'), [], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // Don't pass on the options of this process, such as --input-type or an inspector's port.
      execArgv: [],
    })
    const renderer: Renderer = { child, words: '' }
    const gone = () => {
      if (running === renderer) running = undefined
    }
    child.on('exit', gone)
    child.on('error', gone)
    // Missing if the process could not be started.
    const errors = child.stderr as Socket | null
    errors?.on('data', piece => {
      renderer.words = `${renderer.words}${piece}`.slice(-2000)
    })
    errors?.unref()
    running = renderer
  }
  running.child.ref()
  running.child.channel?.ref()
  return running
}

function rest({ child }: Renderer): void {
  child.unref()
  child.channel?.unref()
  idle = setTimeout(() => child.kill('SIGKILL'), IDLE_MS)
  idle.unref()
}

async function ask(request: SvgRequest, { limit, signal, wrong }: SvgOptions): Promise<SvgAnswer> {
  const leave = await turn.enter(signal)
  let renderer: Renderer | undefined
  let clear = () => {}
  const unstarted = (cause: Error) => wrong(`its renderer could not be started: ${cause.message}`)
  try {
    renderer = start()
    const { child } = renderer
    const answered = new Promise<SvgAnswer>((resolve, reject) => {
      // 'close' comes after its last output, and after an 'error' of its start.
      const onClose = (status: number | null, killed: string | null) => {
        const words = renderer!.words.trim()
        const how =
          killed === 'SIGKILL'
            ? 'was killed (SIGKILL), as processes are when the machine is out of memory'
            : `ended with ${killed ?? `status ${status}`}`
        reject(wrong(`its renderer ${how}${words && `: ${words}`}`))
      }
      const onError = (cause: Error) => reject(unstarted(cause))
      child.once('message', resolve)
      child.once('close', onClose)
      child.once('error', onError)
      clear = () => {
        child.off('message', resolve)
        child.off('close', onClose)
        child.off('error', onError)
      }
      // If it has ended or never started (`send` is then missing), one of the events above gives the reason.
      child.send?.(request, () => {})
    })
    const answer = await untilAborted(answered, signal, limit)
    if (answer.fault !== undefined) throw wrong(answer.fault)
    rest(renderer)
    return answer
  } catch (error) {
    // It may still be working.
    renderer?.child.kill('SIGKILL')
    if (running === renderer) running = undefined
    throw renderer ? error : unstarted(error as Error)
  } finally {
    clear()
    leave()
  }
}

export const svgSize = (bytes: Uint8Array, options: SvgOptions): Promise<SvgAnswer> => ask({ bytes }, options)

export async function renderSvg(
  bytes: Uint8Array,
  options: SvgOptions & { maxPixels: number },
): Promise<{ width: number; height: number; channels: number; data: Uint8Array }> {
  const { width, height, channels, data } = await ask({ bytes, maxPixels: options.maxPixels }, options)
  if (!data || channels === undefined) throw options.wrong('its renderer gave no pixels')
  return { width, height, channels, data }
}
