/**
 * GET requests over node:http and node:https, through the proxy of the environment, with a timeout for silent connections.
 * (Node's own fetch supports no proxy before Node 22.21; undici, which does, is as large as all of lib.)
 */

import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
} from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { onAbort } from '../base/abort.js'
import { ClipError } from '../base/errors.js'
import { Body } from './body.js'
import type { HubSettings } from './options.js'

export interface Answer {
  message: IncomingMessage
  body: Body
}

export interface Connections {
  /** Rejects with Node's error, a {@link SilenceError}, a {@link ProxyError}, or the signal's reason. */
  get(url: URL, headers: Record<string, string>): Promise<Answer>
  /** Closes all connections, even those in use. */
  close(): void
}

export class SilenceError extends Error {
  constructor() {
    super('the server sent nothing for too long')
  }
}

/** A proxy refused to connect. */
export class ProxyError extends Error {
  constructor(readonly status: number) {
    super(`the proxy answered ${status}`)
  }
}

const portOf = ({ port, protocol }: URL) => Number(port) || (protocol === 'https:' ? 443 : 80)

/**
 * Whether NO_PROXY matches this address: names with their subdomains, `host:port`, `*`, and IPv6 addresses with or without
 * brackets. (The package proxy-from-env does not match subdomains of names without a leading dot, unlike curl and Python. It
 * supports IPv6 only in brackets, and reads only the environment of the process.)
 */
function isExempt(url: URL, noProxy: string): boolean {
  return noProxy
    .toLowerCase()
    .split(/[\s,]+/)
    .some(entry => {
      if (entry === '*') return true
      const address = `http://[${entry}]`
      if (URL.canParse(address)) return url.hostname === new URL(address).hostname
      const [, name = '', port] = /^(.*?)(?::(\d+))?$/.exec(entry.replace(/^\*?\./, ''))!
      if (name === '' || (port !== undefined && Number(port) !== portOf(url))) return false
      return url.hostname === name || url.hostname.endsWith(`.${name}`)
    })
}

/** The proxy for an address; the proxy of http is also used for https if there is no other. */
export function proxyFor(url: URL, env: NodeJS.ProcessEnv): URL | undefined {
  const plain = env.http_proxy ?? env.HTTP_PROXY
  const named = (url.protocol === 'https:' && (env.https_proxy ?? env.HTTPS_PROXY)) || plain
  if (!named?.trim() || isExempt(url, env.no_proxy ?? env.NO_PROXY ?? '')) return undefined
  const text = named.trim()
  const address = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`
  const proxy = URL.canParse(address) ? new URL(address) : undefined
  if (proxy?.protocol === 'http:' || proxy?.protocol === 'https:') return proxy
  throw new ClipError('ERR_CLIP_DOWNLOAD', 'The proxy that the environment names is not an http(s) address', {
    field: url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY',
  })
}

/** Loaded on demand, because it is rarely needed. */
async function tunnel(proxy: URL, signal: AbortSignal): Promise<HttpAgent> {
  const { HttpsProxyAgent } = await import('https-proxy-agent')
  return new HttpsProxyAgent(proxy, { signal })
}

export function openConnections({
  env,
  idleTimeout,
  signal,
}: Pick<HubSettings, 'env' | 'idleTimeout' | 'signal'>): Connections {
  const http = new HttpAgent({ keepAlive: true })
  const https = new HttpsAgent({ keepAlive: true })
  const underWay = new Set<(error: Error) => void>()

  /** Settles with the response, and watches its body until the request is closed. */
  function exchange(request: ClientRequest, cut: AbortController): Promise<Answer> {
    return new Promise((resolve, reject) => {
      let answer: IncomingMessage | undefined
      const finish = () => {
        clearTimeout(timer)
        deaf()
        underWay.delete(fail)
      }
      const fail = (error: Error) => {
        finish()
        request.destroy(error)
        cut.abort(error)
        answer?.destroy(error)
        reject(error)
      }
      const abort = () => fail(signal!.reason)
      // A timer of our own, because a socket's timeout does not run before there is a socket.
      const timer = setTimeout(() => {
        // Paused by a slow reader: the server is not silent.
        if (answer?.isPaused()) timer.refresh()
        else fail(new SilenceError())
      }, idleTimeout)
      const deaf = onAbort(signal, abort)
      underWay.add(fail)
      request.on('error', fail)
      request.on('close', finish)
      request.on('proxyConnect', ({ statusCode }: { statusCode: number }) => {
        timer.refresh()
        if (statusCode !== 200) fail(new ProxyError(statusCode))
      })
      request.on('response', message => {
        // Before anything can arrive, so that the body misses no data.
        const body = new Body(message)
        answer = message
        timer.refresh()
        message.on('data', () => timer.refresh())
        message.on('resume', () => timer.refresh())
        resolve({ message, body })
      })
      request.end()
    })
  }

  return {
    async get(url, headers) {
      const secure = url.protocol === 'https:'
      const proxy = proxyFor(url, env)
      // Closes a connection to a proxy that has not answered, because no request owns that socket yet.
      const cut = new AbortController()
      const agent = proxy ? await tunnel(proxy, cut.signal) : secure ? https : http
      signal?.throwIfAborted()
      const request = (secure ? httpsRequest : httpRequest)(url, { headers, agent })
      return exchange(request, cut)
    },
    close() {
      for (const fail of [...underWay]) fail(new Error('the connection was closed'))
      http.destroy()
      https.destroy()
    },
  }
}
