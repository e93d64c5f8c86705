/**
 * HTTP GET with restricted redirects. Every failure is classified as temporary (TransientError, to be retried) or permanent
 * (ClipError).
 */

import { sleep } from '../base/abort.js'
import { ClipError } from '../base/errors.js'
import { version } from '../base/package.js'
import type { Body } from './body.js'
import { type Answer, openConnections, ProxyError } from './connections.js'
import type { HubSettings } from './options.js'

/** A temporary failure, to be retried; after at least `wait` milliseconds if the server asked for that. */
export class TransientError extends Error {
  readonly wait: number | undefined
  constructor(message: string, options: { wait?: number; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.wait = options.wait
  }
}

/** A response with status 200, 206 or 416. The body must be read or destroyed. */
export interface Reply {
  status: number
  /** Headers of the last response, with lower-case names. */
  headers: Record<string, string>
  /** Headers that the hub sends about the file before it redirects to the storage server. */
  linked: { sha256?: string; bytes?: number }
  body: Body
}

export interface Http {
  /** `authorized`: send the token, but only to the original host. */
  get(url: string, options?: { headers?: Record<string, string>; authorized?: boolean }): Promise<Reply>
  /** Closes all connections. */
  close(): void
}

const maxRedirects = 10
/** If a server asks for a longer wait, the request fails. */
const maxWait = 5 * 60_000

/** 127.0.0.0/8, ::1 and localhost. */
const isLoopback = (host: string) => /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/i.test(host)

/** An address for messages: without the query, which may contain secrets of signed addresses. */
export const bareUrl = (url: string | URL) => {
  const { origin, pathname } = new URL(url)
  return origin + pathname
}

/** Parses Retry-After (seconds or a date) to milliseconds from now. */
export function retryAfter(value: string | undefined, now = Date.now()): number | undefined {
  if (value === undefined) return undefined
  const wait = /^\s*\d+\s*$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now
  return Number.isNaN(wait) ? undefined : Math.max(0, wait)
}

/** Allowed redirects: to https always; to http only from http, and only to the same host or this machine. */
export function checkRedirect(from: URL, location: string, first: string): URL {
  let next: URL
  try {
    next = new URL(location, from)
  } catch (cause) {
    throw refuse(first, `redirects to ${JSON.stringify(location.slice(0, 200))}, which is not an address`, {
      cause,
    })
  }
  const plain = next.protocol === 'http:' && from.protocol === 'http:'
  if (next.protocol === 'https:' || (plain && (next.hostname === from.hostname || isLoopback(next.hostname))))
    return next
  throw refuse(first, `redirects to ${next.protocol}//${next.host}: only https addresses are followed`)
}

const refuse = (url: string, text: string, details: { cause?: unknown; actual?: string } = {}) =>
  new ClipError('ERR_CLIP_DOWNLOAD', `${bareUrl(url)} ${text}`, { file: bareUrl(url), ...details })

// Retrying these makes no sense.
const permanent: Record<string, string> = {
  ENOTFOUND: 'there is no such host: is this machine online, and is the proxy or mirror correct?',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    'its certificate is not trusted (NODE_EXTRA_CA_CERTS adds your own authority)',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is not trusted (NODE_EXTRA_CA_CERTS adds your own authority)',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is not trusted (NODE_EXTRA_CA_CERTS adds your own authority)',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host',
  ERR_INVALID_CHAR: 'this request cannot be made',
}

/** Classifies a failure of the connection. Aborts and ClipErrors are not changed. */
export function networkError(error: unknown, url: string, signal: AbortSignal | undefined): unknown {
  signal?.throwIfAborted()
  if (error instanceof ClipError || error instanceof TransientError) return error
  const { code = '', message } = (error ?? {}) as NodeJS.ErrnoException
  if (permanent[code]) return refuse(url, `failed (${code}): ${permanent[code]}`, { cause: error })
  if (error instanceof ProxyError && (error.status === 403 || error.status === 407))
    return refuse(url, `cannot be reached: ${message}`, { actual: String(error.status), cause: error })
  return new TransientError(message || code, { cause: error })
}

function statusError(url: string, status: number, headers: Record<string, string>, hasToken: boolean): Error {
  if (status === 429 || status === 408 || status === 425 || status >= 500) {
    const wait = retryAfter(headers['retry-after'])
    if (wait !== undefined && wait > maxWait)
      return refuse(url, `answered ${status} and asks to retry after ${Math.round(wait / 1000)} s`, {
        actual: String(status),
      })
    return new TransientError(`the server answered ${status}`, { wait })
  }
  const reason = headers['x-error-message'] ?? ''
  let hint = ''
  if (status === 401 || status === 403)
    hint = hasToken
      ? ': the token in HF_TOKEN has no access; access to a gated repository must be requested on its page first'
      : ': private, gated or missing; set HF_TOKEN to a token that may read it'
  if (status === 404) hint = ': there is no such model, revision or file'
  return refuse(url, `answered ${status}${hint}${reason ? ` (${reason.slice(0, 200)})` : ''}`, {
    actual: String(status),
  })
}

function flatten(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  const flat: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers))
    if (value !== undefined) flat[name.toLowerCase()] = Array.isArray(value) ? value.join(', ') : value
  return flat
}

/** Connections are opened on demand. */
export function openHttp(settings: HubSettings): Http {
  const { signal, token } = settings
  const connections = openConnections(settings)
  return {
    async get(url, { headers = {}, authorized = false } = {}) {
      const first = new URL(url)
      let here = first
      // After a redirect to another host, the token is never sent again.
      let atHome = true
      const linked: Reply['linked'] = {}
      for (let hop = 0; hop <= maxRedirects; hop++) {
        atHome &&= here.origin === first.origin
        const sent: Record<string, string> = {
          'user-agent': `clip-native/${version} node/${process.versions.node}`,
          'accept-encoding': 'identity',
          ...headers,
        }
        if (authorized && token !== undefined && atHome) sent.authorization = `Bearer ${token}`
        let answer: Answer
        try {
          answer = await connections.get(here, sent)
        } catch (error) {
          throw networkError(error, url, signal)
        }
        const { body, message } = answer
        const status = message.statusCode ?? 0
        const got = flatten(message.headers)
        if (atHome && authorized) {
          const etag = /^(?:W\/)?"?([0-9a-f]{64})"?$/.exec(got['x-linked-etag'] ?? got.etag ?? '')
          if (etag) linked.sha256 = etag[1]
          if (/^\d{1,15}$/.test(got['x-linked-size'] ?? '')) linked.bytes = Number(got['x-linked-size'])
        }
        if ([301, 302, 303, 307, 308].includes(status)) {
          body.destroy()
          if (got.location === undefined) throw refuse(url, `answered ${status} without an address`)
          here = checkRedirect(here, got.location, url)
          continue
        }
        if (status === 200 || status === 206 || status === 416) return { status, headers: got, linked, body }
        body.destroy()
        throw statusError(url, status, got, authorized && token !== undefined)
      }
      throw refuse(url, `redirects more than ${maxRedirects} times`)
    },
    close: () => connections.close(),
  }
}

/**
 * Runs `attempt` until it succeeds. After a TransientError it waits (exponential backoff with jitter, or the time that the
 * server asked for) and retries, until `retries` attempts in a row have made no progress as counted by `progress()`.
 */
export async function retrying<T>(
  settings: Pick<HubSettings, 'retries' | 'retryDelay' | 'signal'>,
  url: string,
  attempt: () => Promise<T>,
  progress: () => boolean = () => false,
): Promise<T> {
  for (let failures = 0; ; ) {
    try {
      return await attempt()
    } catch (error) {
      settings.signal?.throwIfAborted()
      if (!(error instanceof TransientError)) throw error
      failures = progress() ? 1 : failures + 1
      if (failures > settings.retries)
        throw new ClipError(
          'ERR_CLIP_DOWNLOAD',
          `${bareUrl(url)}: gave up after ${failures} attempts, the last one because ${error.message}`,
          { file: bareUrl(url), cause: error },
        )
      const delay = Math.min(settings.retryDelay * 2 ** (failures - 1), 30_000) * (0.5 + Math.random() / 2)
      await sleep(Math.max(error.wait ?? 0, delay), settings.signal)
    }
  }
}

/** The chunks of a body; only failures of the connection are classified, not those of the consumer. */
export async function* pieces(
  reply: Reply,
  url: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  try {
    for await (const piece of reply.body) yield piece
  } catch (error) {
    throw networkError(error, url, signal)
  } finally {
    reply.body.destroy()
  }
}

/** Requests a small JSON response, with retries. Rejects with ERR_CLIP_DOWNLOAD if it is too large or not JSON. */
export async function getJson(http: Http, url: string, settings: HubSettings): Promise<unknown> {
  const limit = 8 * 2 ** 20
  return retrying(settings, url, async () => {
    const reply = await http.get(url, { authorized: true })
    const read: Buffer[] = []
    let bytes = 0
    for await (const piece of pieces(reply, url, settings.signal)) {
      bytes += piece.length
      if (bytes > limit) throw refuse(url, `sends more than ${limit} bytes`)
      read.push(piece)
    }
    if (reply.status !== 200) throw refuse(url, `answered ${reply.status}`)
    try {
      return JSON.parse(Buffer.concat(read).toString('utf8')) as unknown
    } catch (cause) {
      throw refuse(url, 'did not answer with JSON: is it a login page or a proxy?', { cause })
    }
  })
}
