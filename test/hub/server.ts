/** Helpers of the download tests: servers on the loopback interface, each as bad as a test asks for. */

import { createHash } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'

export const sha256 = (content: Buffer) => createHash('sha256').update(content).digest('hex')
export const gitSha1 = (content: Buffer) =>
  createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex')

/** Bytes that no compression or coincidence makes equal elsewhere; the same for the same seed. */
export function bytes(length: number, seed = 1): Buffer {
  const out = Buffer.allocUnsafe(length)
  let x = seed * 2654435761
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) | 0
    out[i] = x >>> 24
  }
  return out
}

/** Small whole numbers below `limit`; the same for the same seed. */
export function randomBelow(seed: number): (limit: number) => number {
  let x = seed
  return limit => {
    x = (Math.imul(x, 1664525) + 1013904223) | 0
    return (x >>> 8) % limit
  }
}

export interface Recorded {
  method: string
  url: string
  headers: IncomingMessage['headers']
}

export interface TestServer {
  url: string
  port: number
  requests: Recorded[]
  server: Server
}

/** Listens on a free port of 127.0.0.1 until the test ends. */
export async function serve(
  t: ExecutionContext,
  handler: (request: IncomingMessage, response: ServerResponse, count: number) => void,
): Promise<TestServer> {
  const requests: Recorded[] = []
  const server = createServer((request, response) => {
    requests.push({ method: request.method!, url: request.url!, headers: request.headers })
    response.on('error', () => {})
    handler(request, response, requests.length)
  })
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, port, requests, server }
}

export interface FileOptions {
  /** Answer Range requests; default true. */
  ranges?: boolean
  etag?: string
  headers?: Record<string, string>
  /** Cut the connection after so many bytes of this answer. */
  cutAfter?: number
  /** Stop sending after so many bytes, and keep the connection. */
  hangAfter?: number
  /** Announce another length. */
  length?: number
}

/** Sends a file as a good server does, or less good. Returns the bytes it meant to send. */
export function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  content: Buffer,
  { ranges = true, etag, headers = {}, cutAfter, hangAfter, length }: FileOptions = {},
): number {
  const { socket } = response
  let start = 0
  const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')
  const condition = request.headers['if-range']
  if (ranges && range && (condition === undefined || condition === etag)) start = Number(range[1])
  if (start >= content.length && start > 0) {
    response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end()
    return 0
  }
  const body = content.subarray(start)
  response.writeHead(start > 0 ? 206 : 200, {
    'content-length': length ?? body.length,
    ...(start > 0 ? { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` } : {}),
    ...(etag === undefined ? {} : { etag }),
    ...headers,
  })
  const stop = cutAfter ?? hangAfter
  if (stop !== undefined && stop < body.length) {
    response.flushHeaders()
    response.write(body.subarray(0, stop))
    // FIN after the bytes, not RST: the other side is sure to see them all.
    if (cutAfter !== undefined) socket?.end()
    return stop
  }
  if (length !== undefined && length > body.length) {
    response.write(body)
    socket?.end()
  } else response.end(body)
  return body.length
}

export interface HubFile {
  content: Buffer
  /** Listed as a large file, with its SHA-256. */
  large?: boolean
  /** Listed under this hash in place of the right one. */
  listed?: { sha256?: string; size?: number; blobId?: string }
  send?: FileOptions
}

export const commit = 'c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00'

/** Answers like the hub for one repository; false when the request is for something else. */
export function answerHub(
  request: IncomingMessage,
  response: ServerResponse,
  id: string,
  files: Record<string, HubFile>,
  override: { sha?: unknown; siblings?: unknown } = {},
): boolean {
  const { pathname } = new URL(request.url!, 'http://x')
  if (pathname.startsWith(`/api/models/${id}/revision/`)) {
    const siblings = Object.entries(files).map(([rfilename, file]) => {
      const size = file.listed?.size ?? file.content.length
      const hash = file.listed?.sha256 ?? sha256(file.content)
      return {
        rfilename,
        size,
        blobId: file.listed?.blobId ?? gitSha1(file.content),
        ...(file.large ? { lfs: { sha256: hash, size, pointerSize: 134 } } : {}),
      }
    })
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ id, sha: commit, siblings, ...override }))
    return true
  }
  const prefix = `/${id}/resolve/${commit}/`
  const file = pathname.startsWith(prefix) ? files[pathname.slice(prefix.length)] : undefined
  if (!file) return false
  sendFile(request, response, file.content, { etag: `"${sha256(file.content)}"`, ...file.send })
  return true
}

/** A repository as Hugging Face's CLIPModel is saved; the weights are only bytes here. */
export function tinyRepo(weights = bytes(200_000)): Record<string, HubFile> {
  return {
    '.gitattributes': { content: Buffer.from('* text') },
    'README.md': { content: Buffer.from('# tiny') },
    'config.json': { content: Buffer.from('{"model_type":"clip"}') },
    'preprocessor_config.json': { content: Buffer.from('{"size":224}') },
    'tokenizer.json': { content: Buffer.from('{"model":{}}') },
    'vocab.json': { content: Buffer.from('{}') },
    'merges.txt': { content: Buffer.from('#version\n') },
    'pytorch_model.bin': { content: bytes(1000, 5), large: true },
    'model.safetensors': { content: weights, large: true },
  }
}

/** A folder of this test's own, and an environment in which nothing outside it is found or written. */
export function sandbox(extra: NodeJS.ProcessEnv = {}): {
  home: string
  env: NodeJS.ProcessEnv
  cache: string
} {
  const home = mkdtempSync(join(tmpdir(), 'clip-native-hub-'))
  const cache = join(home, 'own')
  return { home, cache, env: { HOME: home, USERPROFILE: home, CLIP_NATIVE_CACHE: cache, ...extra } }
}
