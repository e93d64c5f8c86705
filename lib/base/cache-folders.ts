/** The folders on this machine for models and for files that are derived from them. */

import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { text } from './options.js'

/** The three folders that are searched, in this order. */
export interface CacheFolders {
  /** The folder in which OpenAI's and OpenCLIP's Python packages store OpenAI's files. */
  openai: string
  /** The hub cache of huggingface_hub. */
  huggingface: string
  /** The folder of this package, which is the only one that it writes to. */
  own: string
}

const home = (env: NodeJS.ProcessEnv, platform: NodeJS.Platform) =>
  (platform === 'win32' ? env.USERPROFILE : env.HOME) || homedir()

/** Both Python packages use ~/.cache on every platform; this package follows the conventions of the platform. */
export function cacheFolders(
  { cacheDir, env }: { cacheDir: string | undefined; env: NodeJS.ProcessEnv },
  platform = process.platform,
): CacheFolders {
  const user = home(env, platform)
  const untilde = (path: string) => (/^~(?=$|[\\/])/.test(path) ? join(user, path.slice(1)) : path)
  const unixCache = untilde(env.XDG_CACHE_HOME || join(user, '.cache'))
  const hfHome = untilde(env.HF_HOME || join(unixCache, 'huggingface'))
  let own = text('cacheDir', cacheDir) ?? env.CLIP_NATIVE_CACHE
  if (!own && platform === 'darwin') own = join(user, 'Library', 'Caches', 'clip-native')
  if (!own && platform === 'win32')
    own = join(env.LOCALAPPDATA || join(user, 'AppData', 'Local'), 'clip-native', 'Cache')
  return {
    openai: join(user, '.cache', 'clip'),
    huggingface: untilde(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(hfHome, 'hub')),
    own: resolve(untilde(own || join(unixCache, 'clip-native'))),
  }
}
