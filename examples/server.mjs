// An HTTP server that classifies images: POST an image and get its labels. One model serves all requests, and requests that wait at the same time are batched.
//
//   node examples/server.mjs [PORT]           curl --data-binary @dog.png http://localhost:PORT
import { createServer } from 'node:http'
import { pathToFileURL } from 'node:url'
import { ClipError, load } from 'clip-native'

const mostBytes = 10 * 2 ** 20
/** The status code for an error. */
const statusOf = error =>
  ({ ERR_CLIP_IMAGE: 422, ERR_CLIP_INPUT: 422, ERR_CLIP_BUSY: 503, ERR_CLIP_DISPOSED: 503 })[error.code] ??
  500

async function bodyOf(request) {
  const pieces = []
  let bytes = 0
  // A request that is too long is not destroyed, so that its sender gets an answer.
  for await (const piece of request.iterator({ destroyOnReturn: false })) {
    bytes += piece.length
    if (bytes > mostBytes) return undefined
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}

export async function serve(port) {
  // The queue is short: when 64 requests are waiting, the next one is refused at once.
  const clip = await load(undefined, { towers: ['image', 'text'], maxQueue: 64, maxPixels: 40_000_000 })
  const classifier = await clip.classifier(['dog', 'cat', 'rocket', 'pizza', 'anchor'], {
    templates: 'an icon of {}',
  })

  const server = createServer(async (request, response) => {
    const answer = (status, body) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`)
    }
    // If the client disconnects, its work is aborted.
    const control = new AbortController()
    response.on('close', () => control.abort())
    try {
      const image = await bodyOf(request)
      if (!image) {
        response.setHeader('connection', 'close')
        response.on('finish', () => request.destroy())
        return answer(413, { error: `at most ${mostBytes} bytes` })
      }
      answer(200, await classifier.classify(image, { topK: 3, signal: control.signal }))
    } catch (error) {
      if (control.signal.aborted) return
      const known = error instanceof ClipError || error?.code === 'ERR_CLIP_INPUT'
      answer(statusOf(error), { error: known ? error.message : 'internal error', code: error?.code })
    }
  })
  await new Promise(resolve => server.listen(port, resolve))

  return {
    port: server.address().port,
    /** Accepts no new requests, answers the running ones, and then frees the model. */
    async close() {
      await new Promise(resolve => server.close(resolve))
      await clip.dispose()
    },
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { port, close } = await serve(Number(process.argv[2] ?? 8080))
  console.log(`http://localhost:${port}`)
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, close)
}
