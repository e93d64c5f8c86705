/** A service in a process of its own, as `npm start` starts it, on a free port and with a data folder of its own. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { exampleImages } from '../src/config.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))

export const labels = ['dog', 'cat', 'rocket', 'pizza', 'anchor', 'bicycle']
export const exampleImage = name => readFile(join(exampleImages, name))

/** `settings` as in the environment: { MAX_QUEUE: 4 }. */
export async function startService(settings = {}) {
  const data = await mkdtemp(join(tmpdir(), 'clip-service-'))
  const env = { ...process.env, PORT: '0', DATA: data, LOG_LEVEL: 'error', DRAIN_MS: '0' }
  for (const [name, value] of Object.entries(settings)) env[name] = String(value)
  const child = spawn(process.execPath, [join(root, 'src/start.mjs')], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  // It goes on reading, so that what it says later does not fill the pipe.
  const url = await Promise.race([
    new Promise(resolve => {
      createInterface({ input: child.stdout }).on('line', line => line.startsWith('http') && resolve(line))
    }),
    ended.then(([code]) => Promise.reject(new Error(`the service ended with ${code}`))),
  ])
  const service = {
    url,
    port: Number(new URL(url).port),
    data,
    child,
    /** Sends a signal; resolves with the exit code. */
    async stop(signal = 'SIGTERM') {
      child.kill(signal)
      const [code] = await ended
      await rm(data, { recursive: true, force: true, maxRetries: 5 })
      return code
    },
    /** A figure of /metrics. */
    async figure(name) {
      const { text } = await send(service, { method: 'GET', path: '/metrics' })
      const line = text.split('\n').find(l => l.startsWith(`${name} `))
      return Number(line?.split(' ')[1])
    },
    /** Waits until every image of the folder can be searched. */
    async indexed() {
      for (;;) {
        const { json } = await send(service, { method: 'GET', path: '/model' })
        if (!json.images.indexing) return json
        await new Promise(resolve => setTimeout(resolve, 50))
      }
    },
  }
  return service
}

/**
 * One request; resolves with { status, headers, text, json } or rejects when the connection breaks. One that was kept
 * alive may end just when it is used again: then once more on a new one, as every client has to.
 */
export function send(service, options) {
  const { method = 'POST', path, headers = {}, body, agent, signal } = options
  return new Promise((resolve, reject) => {
    const where = { port: service.port, host: '127.0.0.1' }
    const request = httpRequest({ ...where, method, path, headers, agent, signal })
    request.on('error', error => {
      if (request.reusedSocket && !signal?.aborted) resolve(send(service, { ...options, agent: undefined }))
      else reject(error)
    })
    request.on('response', response => {
      const pieces = []
      response.on('data', piece => pieces.push(piece))
      response.on('error', reject)
      response.on('end', () => {
        const text = Buffer.concat(pieces).toString()
        const isJson = response.headers['content-type']?.startsWith('application/json')
        const json = isJson ? JSON.parse(text) : undefined
        resolve({ status: response.statusCode, headers: response.headers, text, json })
      })
    })
    request.end(body)
  })
}

export const sendJson = (service, path, value, more = {}) => {
  const body = JSON.stringify(value)
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
  return send(service, { path, headers, body, ...more })
}

export const sendRaw = (service, path, body, type = 'image/png', more = {}) =>
  send(service, { path, headers: { 'content-type': type, 'content-length': body.length }, body, ...more })

/** `parts`: [name, value] or [name, bytes, file name]. */
export function formOf(parts) {
  const boundary = 'clip-native-test'
  const pieces = []
  for (const [name, value, file] of parts) {
    const more = file ? `; filename="${file}"\r\ncontent-type: image/png` : ''
    pieces.push(Buffer.from(`--${boundary}\r\ncontent-disposition: form-data; name="${name}"${more}\r\n\r\n`))
    pieces.push(Buffer.from(value), Buffer.from('\r\n'))
  }
  const body = Buffer.concat([...pieces, Buffer.from(`--${boundary}--\r\n`)])
  const headers = {
    'content-type': `multipart/form-data; boundary=${boundary}`,
    'content-length': body.length,
  }
  return { body, headers }
}

export const sendForm = (service, path, parts, more = {}) =>
  send(service, { path, ...formOf(parts), ...more })
