/** The metrics that Prometheus reads at /metrics. */

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

export function metrics(app, { admission, cache, images }) {
  const register = new Registry()
  const registers = [register]
  // Memory, processor time, garbage collection and the event loop's delay of this process.
  collectDefaultMetrics({ register })

  const duration = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time from the first line of a request to the end of its answer.',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
    registers,
  })
  const failures = new Counter({
    name: 'clip_failures_total',
    help: 'Answers that were failures, by code.',
    labelNames: ['code'],
    registers,
  })
  const gauge = (name, help, value) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value())
      },
    })
  gauge('clip_working', 'Requests that are being computed or are waiting.', () => admission.working)
  gauge('clip_body_bytes', 'Bytes of bodies that are in memory or being received.', () => admission.bytes)
  gauge('clip_cached_classifiers', 'Cached classifiers.', () => cache.size)
  gauge('clip_cached_bytes', 'Bytes of the cached classifiers.', () => cache.bytes)
  gauge('clip_cache_hits', 'Requests whose classifier was in the cache.', () => cache.hits)
  gauge('clip_cache_misses', 'Requests whose classifier had to be created.', () => cache.misses)
  gauge('clip_images', 'Images that can be searched.', () => images.state().count)

  app.addHook('onResponse', async (request, reply) => {
    // The route as it is declared, never the URL, because there is no limit to URLs.
    const route = request.routeOptions.url ?? 'none'
    duration.observe({ method: request.method, route, status: reply.statusCode }, reply.elapsedTime / 1000)
  })
  app.get('/metrics', {
    schema: { summary: 'Figures for Prometheus', produces: ['text/plain'] },
    handler: async (_, reply) => reply.type(register.contentType).send(await register.metrics()),
  })
  return { failed: code => failures.inc({ code }) }
}
