/** `clip-native download`: downloads models before they are needed. The path is printed to stdout, everything else to stderr. */

import type { Command } from 'commander'
import { findCached, resolveName } from '../hub/index.js'
import { downloadBar } from './download-bar.js'
import { untilInterrupted } from './interrupt.js'

interface Options {
  cacheDir?: string
  offline?: boolean
  json?: boolean
  quiet?: boolean
}

async function run(names: string[], { cacheDir, offline, json, quiet }: Options): Promise<void> {
  const results: { name: string; path: string; bytes: number | null }[] = []
  const code = await untilInterrupted(async signal => {
    for (const name of names) {
      const shown = downloadBar(quiet)
      try {
        const options = { cacheDir, signal, onProgress: shown.update, ...(offline ? { offline } : {}) }
        const path = await resolveName(name, options)
        const cached = await findCached(name, { cacheDir }).catch(() => undefined)
        results.push({ name, path, bytes: cached?.bytes ?? null })
      } finally {
        shown.stop()
      }
      if (!json) process.stdout.write(`${results.at(-1)!.path}\n`)
    }
    if (json) process.stdout.write(`${JSON.stringify(results, null, 2)}\n`)
    return 0
  })
  if (code === 0) return
  process.stderr.write('Stopped. Run the same command to continue the download.\n')
  process.exitCode = code
}

/**
 * Adds `download` to the program. Exit code 130 after Ctrl-C (downloaded data is kept); every other failure rejects
 * `parseAsync`.
 */
export function registerDownload(program: Command): void {
  program
    .command('download')
    .description('download models by name or Hugging Face id, verify them, and print their paths')
    .argument('<name...>', 'model names or Hugging Face ids: ViT-B/32, laion/CLIP-ViT-H-14-laion2B-s32B-b79K')
    .option(
      '--cache-dir <folder>',
      'download folder (default: CLIP_NATIVE_CACHE, or else the cache folder of the platform)',
    )
    .option('--offline', 'do not use the network: print the paths of downloaded models, or fail')
    .option('--quiet', 'do not show progress')
    .option('--json', 'print JSON')
    .action(run)
}
