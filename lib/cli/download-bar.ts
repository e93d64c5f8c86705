/** Shows downloads on stderr, in the same way for every command that needs a model. */

import { Presets, SingleBar } from 'cli-progress'
import { formatBytes } from '../hub/file-error.js'
import type { DownloadProgress } from '../hub/index.js'

export interface DownloadBar {
  update(progress: DownloadProgress): void
  stop(): void
}

/** One line per file, for a log. */
function lines(): DownloadBar {
  let last = ''
  return {
    update({ phase, name, file, total }) {
      const state = `${phase} ${file}`
      if (state === last || phase === 'verifying') return
      last = state
      const size = total === undefined ? '' : ` (${formatBytes(total)})`
      const text = { waiting: 'another process is downloading', downloading: 'downloading', done: 'done:' }
      process.stderr.write(`${name}: ${text[phase]} ${file}${size}\n`)
    },
    stop() {},
  }
}

/** A progress bar on a terminal; otherwise one line per file. Nothing is shown if nothing is downloaded. */
export function downloadBar(quiet = false): DownloadBar {
  const stream = process.stderr
  if (quiet) return { update() {}, stop() {} }
  if (!stream.isTTY) return lines()
  const bar = new SingleBar(
    {
      stream,
      format: '{file} [{bar}] {percentage}% | {done} of {size} | {speed}/s{note}',
      hideCursor: true,
      clearOnComplete: false,
      barsize: 24,
    },
    Presets.legacy,
  )
  let file = ''
  let since = { at: performance.now(), received: 0 }
  let isShown = false
  return {
    update(progress) {
      const { received, total, phase } = progress
      if (!isShown || file !== progress.file) {
        if (isShown) bar.stop()
        file = progress.file
        since = { at: performance.now(), received }
        bar.start(total ?? 1, 0, { file, done: '', size: '', speed: '', note: '' })
        isShown = true
      }
      if (phase === 'verifying') since = { at: performance.now(), received }
      const seconds = (performance.now() - since.at) / 1000
      bar.setTotal(Math.max(total ?? received + 1, 1))
      bar.update(received, {
        done: formatBytes(received),
        size: total === undefined ? 'an unknown size' : formatBytes(total),
        speed: formatBytes(seconds > 0 ? Math.max(0, received - since.received) / seconds : 0),
        note: { waiting: ' (another process)', verifying: ' (checking)', downloading: '', done: '' }[phase],
      })
    },
    stop() {
      if (isShown) bar.stop()
      isShown = false
    },
  }
}
