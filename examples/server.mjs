// An HTTP server that classifies images: POST one, get labels. One model for all requests; what waits at the same time
// shares a pass.
//
//   node examples/server.mjs [PORT]           curl --data-binary @dog.png http://localhost:PORT
import { createServer } from 'node:http'
import { pathToFileURL } from 'node:url'
import { ClipError, load } from 'clip-native'

const mostBytes = 10 * 2 ** 20
/** Which answer a failure is. */
const statusOf = error =>
  ({ ERR_CLIP_IMAGE: 422, ERR_CLIP_INPUT: 422, ERR_CLIP_BUSY: 503, ERR_CLIP_DISPOSED: 503 })[error.code] ??
  500

async function bodyOf(request) {
  const pieces = []
  let bytes = 0
  // Not destroyed when it is too long: who sent it is to be told.
  for await (const piece of request.iterator({ destroyOnReturn: false })) {
    bytes += piece.length
    if (bytes > mostBytes) return undefined
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}

export async function serve(port) {
  // A short queue: who comes when 64 wait is told so at once, instead of waiting for his turn.
  const clip = await load(undefined, { towers: ['image', 'text'], maxQueue: 64, maxPixels: 40_000_000 })
  const classifier = await clip.classifier(['dog', 'cat', 'rocket', 'pizza', 'anchor'], {
    templates: 'an icon of {}',
  })

  const server = createServer(async (request, response) => {
    const answer = (status, body) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`)
    }
    // Who hangs up is computed for no more.
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
    /** No new requests; those that run are answered; then the model's memory is given back. */
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
