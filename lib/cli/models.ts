/** `clip-native models`: lists the named models, and where they are on this machine. */

import { homedir } from 'node:os'
import type { Command } from 'commander'
import { cacheFolders } from '../base/cache-folders.js'
import { knownModels, type ModelInfo, modelInfo } from '../base/known-models.js'
import { ownIds } from '../hub/cache.js'
import { formatBytes } from '../hub/file-error.js'
import { type Cached, findCached } from '../hub/index.js'
import { settings } from '../hub/options.js'

interface Listed extends ModelInfo {
  cached: Cached | null
}

/** The models of the built-in list, then the other models in the cache. */
async function list(cacheDir: string | undefined): Promise<Listed[]> {
  const known = knownModels()
  const others = (await ownIds(cacheFolders(settings({ cacheDir })))).flatMap(id => {
    if (known.some(({ name }) => name === id)) return []
    try {
      return [modelInfo(id)]
    } catch {
      return [] // not a folder of this package
    }
  })
  return Promise.all(
    [...known, ...others].map(async model => ({
      ...model,
      cached: (await findCached(model.name, { cacheDir })) ?? null,
    })),
  )
}

const short = (path: string) => (path.startsWith(homedir()) ? `~${path.slice(homedir().length)}` : path)

function table(models: Listed[]): string {
  const rows = models.map(({ name, license, bytes, imageSize, cached }) => {
    const size = cached?.bytes ?? bytes
    return [
      name,
      license ?? '?',
      size === undefined ? '' : formatBytes(size),
      imageSize === undefined ? '' : String(imageSize),
      cached ? short(cached.path) : '',
    ]
  })
  const head = ['NAME', 'LICENCE', 'SIZE', 'PIXELS', 'ON THIS MACHINE']
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map(row => row[i].length)))
  const line = (row: string[]) =>
    row
      .map((cell, i) => (i === 2 || i === 3 ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
      .join('  ')
      .trimEnd()
  return [head, ...rows].map(line).join('\n')
}

/** Adds `models` to the program. Failures reject `parseAsync`. */
export function registerModels(program: Command): void {
  program
    .command('models')
    .description('list the models that can be loaded by name: licence, size, and path if already downloaded')
    .option(
      '--cache-dir <folder>',
      'download folder (default: CLIP_NATIVE_CACHE, or else the cache folder of the platform)',
    )
    .option('--json', 'print JSON')
    .action(async ({ cacheDir, json }: { cacheDir?: string; json?: boolean }) => {
      const models = await list(cacheDir)
      if (json) process.stdout.write(`${JSON.stringify(models, null, 2)}\n`)
      else
        process.stdout.write(
          `${table(models)}\n\nAny other Hugging Face id (owner/name) works as well. To download a model: clip-native download NAME\n`,
        )
    })
}
