/** All failures have the form { code, message, help }. */

/** Status, and what to do about it. */
const kinds = {
  BAD_REQUEST: [400, 'Correct the request; /openapi.json says what each endpoint takes.'],
  NOT_FOUND: [404, 'See /openapi.json for the endpoints.'],
  UNKNOWN_CLASSIFIER: [404, 'GET /model lists the saved classifiers.'],
  METHOD_NOT_ALLOWED: [405, 'Use a method of the header Allow.'],
  TOO_SLOW: [408, 'Send the request faster, or a smaller one.'],
  WRONG_HOST: [421, 'Ask under a name that the setting HOSTS of this service lists.'],
  TOO_LARGE: [413, 'Send less. Images over the JSON limit: as the raw body or as multipart/form-data.'],
  UNSUPPORTED_MEDIA_TYPE: [
    415,
    'Send the image as image/* or application/octet-stream, or use multipart/form-data or application/json.',
  ],
  HEADERS_TOO_LARGE: [431, 'Send shorter headers; long lists of labels belong into the body.'],
  ERR_CLIP_IMAGE: [422, 'Send a whole JPEG, PNG, WebP, GIF or AVIF within the limits that GET /model lists.'],
  ERR_CLIP_INPUT: [422, 'Correct the value that the message names.'],
  ERR_CLIP_TEXT_TOO_LONG: [422, 'Shorten the label or text that the message names.'],
  ERR_CLIP_BUSY: [503, 'Try again after the seconds in the header Retry-After.'],
  ERR_CLIP_MEMORY: [503, 'Try again later: the machine is short of memory, threads or open files.'],
  SHUTTING_DOWN: [503, 'Try again: another instance, or this one when it is back.'],
  TIMED_OUT: [504, 'Try again later, or ask for less: fewer labels, templates or pixels.'],
  CLIENT_GONE: [499, 'Nobody is there to read this.'],
  INTERNAL: [500, 'This is a fault of the service. Its log says more.'],
}

const codeOfStatus = {
  400: 'BAD_REQUEST',
  403: 'NOT_FOUND', // a path that leads out of a folder
  404: 'NOT_FOUND',
  406: 'UNSUPPORTED_MEDIA_TYPE',
  408: 'TOO_SLOW',
  413: 'TOO_LARGE',
  415: 'UNSUPPORTED_MEDIA_TYPE',
  431: 'HEADERS_TOO_LARGE',
  503: 'SHUTTING_DOWN',
}

/** A failure that the service itself detects. */
export class ServiceError extends Error {
  constructor(code, message, headers = {}) {
    super(message)
    this.code = code
    this.headers = headers
  }
}

/** Status, headers and body for an error. An unexpected error is INTERNAL, without details. */
export function answerOf(error) {
  let { code } = error
  let { message } = error
  if (code === 'ERR_CLIP_DISPOSED') [code, message] = ['SHUTTING_DOWN', 'the service is shutting down']
  if (!Object.hasOwn(kinds, code)) code = codeOfStatus[error.statusCode] ?? 'INTERNAL'
  if (code === 'INTERNAL') message = 'something went wrong inside'
  const [status, help] = kinds[code]
  return { status, headers: error.headers ?? {}, body: { code, message, help } }
}

/** Answers requests that do not reach Fastify: data that is not HTTP, headers that are too long, a body that does not arrive. */
export function answerRaw(error, socket) {
  if (!socket.writable || error.code === 'ECONNRESET') return socket.destroy()
  const code =
    { ERR_HTTP_REQUEST_TIMEOUT: 'TOO_SLOW', HPE_HEADER_OVERFLOW: 'HEADERS_TOO_LARGE' }[error.code] ??
    'BAD_REQUEST'
  const message = {
    TOO_SLOW: 'the request did not arrive in time',
    HEADERS_TOO_LARGE: 'the headers are too long',
    BAD_REQUEST: 'this is not HTTP/1.1',
  }[code]
  const { status, body } = answerOf({ code, message })
  const text = JSON.stringify(body)
  const head = [
    `HTTP/1.1 ${status} ${code}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(text)}`,
    'connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`, () => socket.destroy())
}
