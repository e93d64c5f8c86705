/** `clip-native download`: brings models to this machine before they are needed. The path goes to stdout, all else to stderr. */

import type { Command } from 'commander'
import { formatBytes } from '../hub/file-error.js'
import { type DownloadProgress, findCached, resolveSource } from '../hub/index.js'

interface Options {
  cacheDir?: string
  offline?: boolean
  json?: boolean
  quiet?: boolean
}

interface Display {
  update(progress: DownloadProgress): void
  stop(): void
}

/** A bar on a terminal; elsewhere (a log) one line per file. */
async function display(quiet: boolean): Promise<Display> {
  const stream = process.stderr
  if (quiet) return { update() {}, stop() {} }
  let file = ''
  if (!stream.isTTY)
    return {
      update(progress) {
        const state = `${progress.phase} ${progress.file}`
        if (state === file || progress.phase === 'verifying') return
        file = state
        const size = progress.total === undefined ? '' : ` (${formatBytes(progress.total)})`
        const text = { waiting: 'another process is downloading', downloading: 'downloading', done: 'done:' }
        stream.write(
          `${progress.name}: ${text[progress.phase as keyof typeof text]} ${progress.file}${size}\n`,
        )
      },
      stop() {},
    }
  const { default: cliProgress } = await import('cli-progress')
  const bar = new cliProgress.SingleBar(
    {
      stream,
      format: '{file} [{bar}] {percentage}% | {done} of {size} | {speed}/s{note}',
      hideCursor: true,
      clearOnComplete: false,
      barsize: 24,
    },
    cliProgress.Presets.legacy,
  )
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
    },
  }
}

async function run(names: string[], { cacheDir, offline, json, quiet }: Options): Promise<void> {
  const control = new AbortController()
  const stopped = new Error('stopped')
  const stop = () => control.abort(stopped)
  process.once('SIGINT', stop)
  const results: { name: string; path: string; bytes: number | null }[] = []
  try {
    for (const name of names) {
      const shown = await display(quiet === true)
      try {
        const options = {
          cacheDir,
          signal: control.signal,
          onProgress: shown.update,
          ...(offline ? { offline } : {}),
        }
        const path = await resolveSource(name, options)
        const cached = await findCached(name, { cacheDir }).catch(() => undefined)
        results.push({ name, path, bytes: cached?.bytes ?? null })
      } finally {
        shown.stop()
      }
      if (!json) process.stdout.write(`${results.at(-1)!.path}\n`)
    }
    if (json) process.stdout.write(`${JSON.stringify(results, null, 2)}\n`)
  } catch (error) {
    if (error !== stopped) throw error
    process.stderr.write('Stopped. What arrived is kept: the same command continues it.\n')
    process.exitCode = 130
  } finally {
    process.off('SIGINT', stop)
  }
}

/**
 * Adds `download` to the program. Exit code 130 after Ctrl-C (what arrived is kept); every other failure rejects
 * `parseAsync`.
 */
export function registerDownload(program: Command): void {
  program
    .command('download')
    .description('fetch models by name or hub id, verified and once for all processes; prints where they lie')
    .argument('<name...>', "OpenAI's names or hub ids: ViT-B/32, laion/CLIP-ViT-H-14-laion2B-s32B-b79K")
    .option('--cache-dir <folder>', 'where to put them (default: CLIP_NATIVE_CACHE, else the cache folder)')
    .option('--offline', 'only say where they lie; fail if they do not')
    .option('--quiet', 'no progress')
    .option('--json', 'for machines')
    .action(run)
}
