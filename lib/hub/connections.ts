/**
 * One GET at a time over node:http and node:https: through the proxy that the environment names, cut when it says nothing
 * for too long. (Node's own fetch knows no proxy before Node 22.21; undici, which does, takes as much room as lib.)
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
  /** Rejects with what Node says, with a {@link SilenceError}, with a {@link ProxyError}, or with the signal's reason. */
  get(url: URL, headers: Record<string, string>): Promise<Answer>
  /** Ends all connections, those in use too. */
  close(): void
}

export class SilenceError extends Error {
  constructor() {
    super('the server sent nothing for too long')
  }
}

/** What a proxy answered in place of a connection. */
export class ProxyError extends Error {
  constructor(readonly status: number) {
    super(`the proxy answered ${status}`)
  }
}

const portOf = ({ port, protocol }: URL) => Number(port) || (protocol === 'https:' ? 443 : 80)

/**
 * Whether NO_PROXY has this address: names with all below them, `host:port`, `*`, IPv6 addresses with or without
 * brackets. (The package proxy-from-env takes names without a leading dot for themselves alone, which neither curl nor
 * Python does, knows IPv6 in brackets only, and reads no other environment than the process's.)
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

/** The proxy for an address; that of http serves https, too, where there is no other. */
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

/** Few need it: loaded when it is. */
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

  /** Settles with the answer, and watches over its body until the request is closed. */
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
      // Ours: a socket's own does not run before there is a socket.
      const timer = setTimeout(() => {
        // Held back by whoever reads: not the server's silence.
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
        // Before anything can arrive: the body misses no piece.
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
      // Cuts a connection to a proxy that has not answered: no request knows of that socket yet.
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
