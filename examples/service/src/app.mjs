/** The service apart from its process: routes, limits and errors. `clip` may be any object with clip-native's methods. */

import { fileURLToPath } from 'node:url'
import multipart from '@fastify/multipart'
import fastifyStatic from '@fastify/static'
import swagger from '@fastify/swagger'
import Fastify, { LogController } from 'fastify'
import { Admission } from './admission.mjs'
import { addBodyParsers } from './bodies.mjs'
import { answerOf, answerRaw, ServiceError } from './errors.mjs'
import { metrics } from './metrics.mjs'
import { workRoutes } from './routes.mjs'

const page = fileURLToPath(new URL('../public', import.meta.url))

/** Allows nothing from other hosts and nothing inline; `blob:` is the image that was dropped. */
const contentSecurityPolicy = [
  "default-src 'none'",
  ...["script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' blob:"],
  ...["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"],
].join('; ')

/** Whether a Host header names this service: see the setting `hosts`. */
function hostCheck({ host, hosts }) {
  const names = hosts === '' ? ['localhost', '127.0.0.1', '[::1]', host] : hosts.split(',')
  if (names.includes('*')) return () => true
  const known = new Set(names.map(name => name.trim().toLowerCase()))
  return header => known.has((header ?? '').toLowerCase().replace(/:\d*$/, ''))
}

export async function createApp({ clip, images, config }) {
  const { receiveMs, maxBodyBytes } = config
  const app = Fastify({
    logger: config.logLevel === 'silent' ? false : { level: config.logLevel },
    // /metrics counts requests, so the log has only failures.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: maxBodyBytes,
    requestTimeout: receiveMs,
    http: { headersTimeout: receiveMs, connectionsCheckingInterval: Math.ceil(receiveMs / 10) },
    keepAliveTimeout: 30_000,
    clientErrorHandler: answerRaw,
    frameworkErrors: (error, _, reply) => sendError(error, reply),
  })
  app.server.maxConnections = config.maxConnections
  const admission = new Admission(config)

  // Requests are checked by inputs.mjs, after the three forms of a body have been converted to one.
  app.setValidatorCompiler(() => () => true)
  app.decorateRequest('grow', null)
  addBodyParsers(app, config)
  await app.register(multipart, {
    limits: {
      fileSize: maxBodyBytes,
      files: 1,
      fields: 64,
      parts: 65,
      fieldSize: 64 * 1024,
      headerPairs: 32,
    },
  })
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'clip-native service',
        version: '1',
        description: 'Classify, embed and search images.',
      },
    },
  })

  let count = () => {}
  function sendError(error, reply) {
    const { status, headers, body } = answerOf(error)
    if (status === 500) reply.log.error(error)
    count(body.code)
    return reply
      .code(status)
      .headers(headers)
      .type('application/json; charset=utf-8')
      .send(JSON.stringify(body))
  }
  app.setErrorHandler((error, _, reply) => sendError(error, reply))
  app.setNotFoundHandler((request, reply) => {
    const [url] = request.url.split('?')
    const others = ['GET', 'POST'].filter(method => app.hasRoute({ method, url }))
    const error =
      others.length > 0
        ? new ServiceError('METHOD_NOT_ALLOWED', `${url} does not take ${request.method}`, {
            allow: others.join(', '),
          })
        : new ServiceError('NOT_FOUND', `there is no ${url.slice(0, 100)}`)
    return sendError(error, reply)
  })
  const known = hostCheck(config)
  app.addHook('onRequest', async (request, reply) => {
    // A load balancer may request /healthz under any address.
    if (request.routeOptions.url !== '/healthz' && !known(request.headers.host))
      throw new ServiceError('WRONG_HOST', 'this service does not answer to that name')
    reply.headers({
      'content-security-policy': contentSecurityPolicy,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
    })
  })

  const { classifiers } = workRoutes(app, { clip, images, config, admission })
  count = metrics(app, { admission, cache: classifiers.cache, images }).failed
  app.get('/healthz', {
    schema: { summary: '200 while it takes requests, 503 when it is about to end or its work does not end' },
    handler: async (_, reply) => {
      const { draining, working, stuck } = admission
      if (draining) return reply.code(503).send({ status: 'shutting down' })
      if (stuck > 0) return reply.code(503).send({ status: 'stuck', working, stuck })
      return { status: 'ok', working }
    },
  })
  app.get('/openapi.json', { schema: { hide: true }, handler: async () => app.swagger() })

  await app.register(fastifyStatic, { root: page, wildcard: false })
  await app.register(fastifyStatic, {
    root: config.images,
    prefix: '/images/',
    decorateReply: false,
    allowedPath: path => /\.(jpe?g|png|webp|gif|avif)$/i.test(path),
    setHeaders: reply => reply.header('content-security-policy', "default-src 'none'; sandbox"),
  })
  return Object.assign(app, { admission })
}
