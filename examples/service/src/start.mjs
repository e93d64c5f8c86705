/** `npm start`: loads the model, listens, and shuts down gracefully on SIGTERM or Ctrl-C. */

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { load } from 'clip-native'
import { createApp } from './app.mjs'
import { configFrom } from './config.mjs'
import { Images } from './images.mjs'

const config = configFrom(process.env)
const clip = await load(config.model || undefined, {
  dtype: config.dtype,
  maxQueue: config.maxQueue,
  maxPixels: config.maxPixels,
  decode: config.decode,
  decodeTimeout: config.decodeMs,
  ...(config.threads > 0 ? { threads: config.threads } : {}),
})
await mkdir(config.data, { recursive: true })
// A store belongs to the weights that created it, so each model has its own.
const store = join(config.data, `images-${clip.info.fingerprint.slice(0, 16)}.store`)
const images = await Images.open(clip, config.images, store, console)
const app = await createApp({ clip, images, config })
if (config.model === '')
  console.warn(
    'The embedded model knows icons and emoji, not photographs: set MODEL to choose another model.',
  )
await app.listen({ host: config.host, port: config.port })
console.log(`http://${config.host}:${app.server.address().port}`)

async function stop() {
  app.admission.draining = true // from now on /healthz answers 503
  await wait(config.drainMs)
  const late = setTimeout(() => app.server.closeAllConnections(), config.shutdownMs)
  // Ends the process even if something hangs.
  setTimeout(() => process.exit(1), config.shutdownMs + 5_000).unref()
  await app.close() // accepts no new connections, and answers running requests
  clearTimeout(late)
  await images.close()
  await clip.dispose()
  process.exit(0)
}
for (const signal of ['SIGTERM', 'SIGINT'])
  process.on(signal, () => {
    if (app.admission.draining) process.exit(1) // a second signal
    stop().catch(error => {
      console.error(error)
      process.exit(1)
    })
  })
