/**
 * SVG is rendered in a process of its own, one picture after the other: nothing bounds the work that a few bytes of it
 * can ask for, and what runs in libvips' threads can't be stopped. The process is killed at an abort and when the time
 * is over, and ends when it has had nothing to do for a while.
 */

import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import { type TimeLimit, untilAborted } from '../base/abort.js'
import { Places } from './gate.js'

/** What the process is asked, one thing at a time. */
export interface SvgRequest {
  bytes: Uint8Array
  /** Render at most so many pixels; undefined: tell the size. */
  maxPixels?: number
}

/** What it answers. */
export interface SvgAnswer {
  width: number
  height: number
  channels?: number
  data?: Uint8Array
  /** Why there is no picture. */
  fault?: string
}

interface SvgOptions {
  limit: TimeLimit
  signal: AbortSignal | undefined
  /** The error of a file that can't be rendered. */
  wrong(message: string): Error
}

const IDLE_MS = 5000
const turn = new Places(1)
let renderer: ChildProcess | undefined
let idle: NodeJS.Timeout | undefined

/** Running, and holding this process up no longer than somebody waits for it. */
function start(): ChildProcess {
  clearTimeout(idle)
  if (!renderer) {
    const child = fork(join(__dirname, 'svg-renderer.js'), [], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      // This process's own options are not meant for it: --input-type, say, or an inspector's port.
      execArgv: [],
    })
    const gone = () => {
      if (renderer === child) renderer = undefined
    }
    child.on('exit', gone)
    child.on('error', gone)
    renderer = child
  }
  renderer.ref()
  renderer.channel?.ref()
  return renderer
}

function rest(child: ChildProcess): void {
  child.unref()
  child.channel?.unref()
  idle = setTimeout(() => child.kill('SIGKILL'), IDLE_MS)
  idle.unref()
}

async function ask(request: SvgRequest, { limit, signal, wrong }: SvgOptions): Promise<SvgAnswer> {
  const leave = await turn.enter(signal)
  const child = start()
  let clear = () => {}
  try {
    const answered = new Promise<SvgAnswer>((resolve, reject) => {
      const onExit = () => reject(wrong('its renderer ended without a word'))
      child.once('message', resolve)
      child.once('exit', onExit)
      child.once('error', reject)
      clear = () => {
        child.off('message', resolve)
        child.off('exit', onExit)
        child.off('error', reject)
      }
      child.send(request, error => {
        if (error) reject(error)
      })
    })
    const answer = await untilAborted(answered, signal, limit)
    if (answer.fault !== undefined) throw wrong(answer.fault)
    rest(child)
    return answer
  } catch (error) {
    // It may still be at work.
    child.kill('SIGKILL')
    if (renderer === child) renderer = undefined
    throw error
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
