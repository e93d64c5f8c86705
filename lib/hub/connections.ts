/**
 * One GET at a time over node:http and node:https: through the proxy that the environment names, cut when it says nothing
 * for too long. Node's own fetch knows no proxy before Node 22.21, and a library that does takes as much room as lib.
 */

import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
} from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { ClipError } from '../errors.js'
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
    super('the server said nothing for too long')
  }
}

/** What a proxy answered in place of a connection. */
export class ProxyError extends Error {
  constructor(readonly status: number) {
    super(`the proxy answered ${status}`)
  }
}

const portOf = ({ port, protocol }: URL) => Number(port) || (protocol === 'https:' ? 443 : 80)
/** Without the brackets of IPv6. */
const hostOf = ({ hostname }: URL) => hostname.replace(/^\[|\]$/g, '')

/** Whether NO_PROXY has this address: names with all below them, `host:port`, or `*`. */
function isExempt(url: URL, noProxy: string): boolean {
  return noProxy
    .toLowerCase()
    .split(/[\s,]+/)
    .some(entry => {
      if (entry === '*') return true
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
  throw new ClipError('ERR_CLIP_DOWNLOAD', 'The proxy that the environment names is no http(s) address', {
    field: url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY',
  })
}

export function openConnections({
  env,
  idleTimeout,
  signal,
}: Pick<HubSettings, 'env' | 'idleTimeout' | 'signal'>): Connections {
  const http = new HttpAgent({ keepAlive: true })
  const https = new HttpsAgent({ keepAlive: true })
  const underWay = new Set<(error: Error) => void>()

  /**
   * Settles with the first answer that `expect` takes, and watches over what follows until the request is closed. The
   * timer is ours: a socket's own does not run before there is a socket.
   */
  function exchange<T>(
    request: ClientRequest,
    expect: (settle: (value: T) => void, heard: (message: IncomingMessage) => void) => void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      let answer: IncomingMessage | undefined
      const fail = (error: Error) => {
        request.destroy(error)
        answer?.destroy(error)
        reject(error)
      }
      const abort = () => fail(signal!.reason)
      const timer = setTimeout(() => {
        // Held back by whoever reads: not the server's silence.
        if (answer?.isPaused()) timer.refresh()
        else fail(new SilenceError())
      }, idleTimeout)
      const heard = (message: IncomingMessage) => {
        answer = message
        timer.refresh()
        message.on('data', () => timer.refresh())
        message.on('resume', () => timer.refresh())
      }
      signal?.addEventListener('abort', abort)
      underWay.add(fail)
      request.on('error', fail)
      request.on('close', () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
        underWay.delete(fail)
      })
      expect(resolve, heard)
      request.end()
    })
  }

  /** A connection to `url`'s host through a proxy. */
  async function tunnel(proxy: URL, url: URL): Promise<Socket> {
    const path = `${url.hostname}:${portOf(url)}`
    const user = [proxy.username, proxy.password].map(decodeURIComponent).join(':')
    const request = (proxy.protocol === 'https:' ? httpsRequest : httpRequest)({
      host: hostOf(proxy),
      port: portOf(proxy),
      method: 'CONNECT',
      path,
      agent: false,
      headers: {
        host: path,
        ...(user === ':' ? {} : { 'proxy-authorization': `Basic ${Buffer.from(user).toString('base64')}` }),
      },
    })
    const { status, socket } = await exchange<{ status: number; socket: Socket }>(request, settle => {
      request.on('connect', ({ statusCode = 0 }, socket: Socket, head) => {
        if (head.length > 0) socket.unshift(head)
        settle({ status: statusCode, socket })
      })
    })
    if (status === 200) return socket
    socket.destroy()
    throw new ProxyError(status)
  }

  return {
    async get(url, headers) {
      signal?.throwIfAborted()
      const secure = url.protocol === 'https:'
      const proxy = proxyFor(url, env)
      let way: object = { agent: secure ? https : http }
      if (proxy) {
        const socket = await tunnel(proxy, url)
        const host = hostOf(url)
        const encrypted = () => connectTls({ socket, host, servername: isIP(host) ? '' : host })
        way = { createConnection: secure ? encrypted : () => socket }
      }
      const request = (secure ? httpsRequest : httpRequest)(url, { headers, ...way })
      return exchange<Answer>(request, (settle, heard) => {
        request.on('response', message => {
          // Before anything can arrive: the body misses no piece.
          const body = new Body(message)
          heard(message)
          settle({ message, body })
        })
      })
    },
    close() {
      for (const fail of [...underWay]) fail(new Error('the connection was closed'))
      http.destroy()
      https.destroy()
    },
  }
}
