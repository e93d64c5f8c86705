/** The service on one of two encoders, in a process of its own, told by its parent when to measure its event loop. */

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { load } from 'clip-native'
import { createApp } from '../src/app.mjs'
import { defaults } from '../src/config.mjs'
import { noImages } from '../src/images.mjs'
import { openTransformers } from './transformers-clip.mjs'

const { side, model, dtype, peers, threads, maxQueue } = JSON.parse(process.argv[2])
const clip =
  side === 'ours'
    ? await load(model, { threads, dtype, maxQueue })
    : await openTransformers({ peers, folder: model, threads, maxQueue })
const config = { ...defaults, logLevel: 'silent', maxQueue, model }
const app = await createApp({ clip, images: noImages, config })
await app.listen({ port: 0, host: '127.0.0.1' })
const delay = monitorEventLoopDelay({ resolution: 1 })

process.on('message', ask => {
  if (ask === 'begin') {
    delay.reset()
    delay.enable()
    process.send({})
  } else if (ask === 'end') {
    delay.disable()
    const ms = nanoseconds => nanoseconds / 1e6
    process.send({ p50: ms(delay.percentile(50)), p99: ms(delay.percentile(99)), max: ms(delay.max) })
  } else process.exit(0)
})
process.send({ port: app.server.address().port, threads: clip.info.threads })
