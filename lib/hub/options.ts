/** Options of looking up and downloading models, and their validation. */

import { argumentError } from '../base/errors.js'
import { text } from '../base/options.js'

/** Progress of a download, as `load(source, { onProgress })` reports it. */
export interface DownloadProgress {
  /** `waiting`: another process is downloading this model; `verifying`: data of an interrupted download is being checked. */
  phase: 'waiting' | 'downloading' | 'verifying' | 'done'
  /** The model name, as it was passed to `load`. */
  name: string
  /** The name of the file that is being downloaded, without folder. */
  file: string
  /** Bytes of this file on disk, including those of earlier runs. */
  received: number
  /** Size of this file in bytes; absent while it is unknown. */
  total?: number
  /** Bytes of all files of the model on disk. */
  modelReceived: number
  /** Size of all files of the model in bytes; absent while one of them is unknown. */
  modelTotal?: number
}

export interface HubOptions {
  /** Folder for downloads; default CLIP_NATIVE_CACHE, else the platform's cache folder. */
  cacheDir?: string
  /** Never use the network: a model that is not on this machine rejects with ERR_CLIP_OFFLINE. Default HF_HUB_OFFLINE. */
  offline?: boolean
  /** Called at most ten times a second, and at the end of each file. An error that it throws ends the download. */
  onProgress?: (progress: DownloadProgress) => void
  /** Aborts waiting or downloading; data that has arrived is kept for the next time. */
  signal?: AbortSignal
  /** For private and gated repositories; default HF_TOKEN. Sent to the hub only, never to where it redirects. */
  token?: string
  /** A mirror of the hub; default HF_ENDPOINT, else https://huggingface.co. */
  endpoint?: string
  /** A mirror of OpenAI's files ({mirror}/<sha256>/<file>); default CLIP_NATIVE_OPENAI_ENDPOINT. */
  openaiEndpoint?: string
  /** Milliseconds without data after which a connection is closed and retried. Default 30 000. */
  idleTimeout?: number
  /** Maximum number of attempts in a row without progress; default 5. */
  retries?: number
  /** Milliseconds before the first retry, doubled for each further one; default 500. */
  retryDelay?: number
  /** Replaces process.env. */
  env?: NodeJS.ProcessEnv
}

/** {@link HubOptions} with defaults applied. */
export interface HubSettings {
  cacheDir: string | undefined
  offline: boolean
  onProgress: ((progress: DownloadProgress) => void) | undefined
  signal: AbortSignal | undefined
  token: string | undefined
  endpoint: string
  openaiEndpoint: string | undefined
  idleTimeout: number
  retries: number
  retryDelay: number
  env: NodeJS.ProcessEnv
}

const isOn = (value: string | undefined) => /^(1|on|yes|true)$/i.test(value?.trim() ?? '')

function number(field: string, value: unknown, standard: number, least: number): number {
  if (value === undefined) return standard
  if (typeof value !== 'number') throw argumentError(field, `be a number of at least ${least}`, value)
  if (!Number.isFinite(value) || value < least || value > 2 ** 31 - 1)
    throw argumentError(field, `be a number from ${least} to ${2 ** 31 - 1}`, value, 'range')
  return value
}

function address(field: string, value: string | undefined): string | undefined {
  const trimmed = value?.trim().replace(/\/+$/, '')
  if (!trimmed) return undefined
  const url = URL.canParse(trimmed) ? new URL(trimmed) : undefined
  if (
    !url ||
    (url.protocol !== 'https:' && url.protocol !== 'http:') ||
    url.username ||
    url.search ||
    url.hash
  )
    throw argumentError(field, 'be an http(s) address without user, query or fragment', trimmed)
  return trimmed
}

/** Checks the options and applies defaults from the environment. Throws a TypeError or RangeError. */
export function settings(options: HubOptions = {}): HubSettings {
  const env = options.env ?? process.env
  if (options.offline !== undefined && typeof options.offline !== 'boolean')
    throw argumentError('offline', 'be true or false', options.offline)
  if (options.onProgress !== undefined && typeof options.onProgress !== 'function')
    throw argumentError('onProgress', 'be a function', options.onProgress)
  if (options.signal !== undefined && typeof options.signal?.throwIfAborted !== 'function')
    throw argumentError('signal', 'be an AbortSignal', options.signal)
  return {
    cacheDir: text('cacheDir', options.cacheDir),
    offline: options.offline ?? isOn(env.HF_HUB_OFFLINE),
    onProgress: options.onProgress,
    signal: options.signal,
    token: text('token', options.token) ?? (env.HF_TOKEN?.trim() || undefined),
    endpoint:
      address('endpoint', options.endpoint) ??
      address('HF_ENDPOINT', env.HF_ENDPOINT) ??
      'https://huggingface.co',
    openaiEndpoint:
      address('openaiEndpoint', options.openaiEndpoint) ??
      address('CLIP_NATIVE_OPENAI_ENDPOINT', env.CLIP_NATIVE_OPENAI_ENDPOINT),
    idleTimeout: number('idleTimeout', options.idleTimeout, 30_000, 1),
    retries: number('retries', options.retries, 5, 0),
    retryDelay: number('retryDelay', options.retryDelay, 500, 0),
    env,
  }
}
