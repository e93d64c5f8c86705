/** What Prometheus reads at /metrics. */

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

export function metrics(app, { admission, cache, images }) {
  const register = new Registry()
  const registers = [register]
  // Memory, processor time, garbage collection and the event loop's delay of this process.
  collectDefaultMetrics({ register })

  const duration = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'From the first line of a request to the end of its answer.',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
    registers,
  })
  const failures = new Counter({
    name: 'clip_failures_total',
    help: 'Answers that were no result, by code.',
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
  gauge('clip_working', 'Requests that are computed or wait for it.', () => admission.working)
  gauge('clip_body_bytes', 'Bytes of bodies that are in memory or on their way.', () => admission.bytes)
  gauge('clip_cached_classifiers', 'Classifiers that are kept.', () => cache.size)
  gauge('clip_cached_bytes', 'Bytes of the classifiers that are kept.', () => cache.bytes)
  gauge('clip_cache_hits', 'Requests whose classifier was kept.', () => cache.hits)
  gauge('clip_cache_misses', 'Requests whose classifier had to be made.', () => cache.misses)
  gauge('clip_images', 'Images that can be searched.', () => images.state().count)

  app.addHook('onResponse', async (request, reply) => {
    // The route as it was written, never the URL: there are endless URLs.
    const route = request.routeOptions.url ?? 'none'
    duration.observe({ method: request.method, route, status: reply.statusCode }, reply.elapsedTime / 1000)
  })
  app.get('/metrics', {
    schema: { summary: 'Figures for Prometheus', produces: ['text/plain'] },
    handler: async (_, reply) => reply.type(register.contentType).send(await register.metrics()),
  })
  return { failed: code => failures.inc({ code }) }
}
