/** Reads a request's image and options, which may be sent raw, as multipart/form-data or as JSON. */

import { Ajv2020 } from 'ajv/dist/2020.js'
import { collect } from './bodies.mjs'
import { ServiceError } from './errors.mjs'

const ajv = new Ajv2020({ strict: false })
const wrong = message => new ServiceError('BAD_REQUEST', message)

/** Describes an error of Ajv in a sentence. */
function sentence({ instancePath, keyword, params, message }) {
  const field = instancePath.slice(1).replaceAll('/', '.')
  if (keyword === 'additionalProperties') return `there is no option \`${params.additionalProperty}\``
  if (keyword === 'oneOf') return 'give `labels` or `classifier`, one of them'
  if (keyword === 'not') return '`templates`, `templateSet` and `classifier` exclude one another'
  if (keyword === 'enum') return `\`${field}\` must be one of ${params.allowedValues.join(', ')}`
  if (keyword === 'pattern' && field.startsWith('templates'))
    return `\`${field}\` must contain {} in place of the label`
  return field ? `\`${field}\` ${message}` : message
}

/** Converts strings of a query or a form to the types of the schema; invalid strings are left for Ajv to refuse. */
function typed(schema, fields) {
  const options = {}
  for (const [name, value] of Object.entries(fields)) {
    const type = schema.properties[name]?.type
    if (type === 'array') {
      const values = [value].flat()
      // Templates and texts may contain commas.
      options[name] = name === 'labels' ? splitLabels(values, schema.properties.labels.maxItems) : values
    } else if (type === 'number' || type === 'integer')
      options[name] = value === '' || Number.isNaN(Number(value)) ? value : Number(value)
    else options[name] = value
  }
  return options
}

/** One label more than `most` is enough to be refused; the rest is not read. */
function splitLabels(values, most) {
  const pieces = values.flatMap(text => text.split(',', most + 1))
  if (pieces.length > most) return pieces
  return pieces.map(label => label.trim()).filter(label => label !== '')
}

function decodeBase64(text) {
  if (typeof text !== 'string' || text === '') throw wrong('`image` must be a string of base64')
  const bytes = Buffer.from(text, 'base64')
  // Buffer skips characters that are not base64, and then there are fewer bytes than expected.
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0
  if (text.length % 4 !== 0 || bytes.length !== (text.length / 4) * 3 - padding)
    throw wrong('`image` must be padded base64 without spaces, line breaks or `data:` before it')
  return bytes
}

async function readForm(request, { maxBodyBytes, maxJsonBytes: maxFieldBytes }) {
  const fields = {}
  let length = 0
  let image
  try {
    for await (const part of request.parts()) {
      if (part.type === 'file') {
        if (part.fieldname !== 'image') {
          part.file.resume()
          throw wrong(`the file must be called \`image\`, not \`${part.fieldname}\``)
        }
        image = await collect(part.file, maxBodyBytes, request.grow)
      } else {
        if (typeof part.value !== 'string') throw wrong(`the field \`${part.fieldname}\` must be text`)
        length += part.value.length
        if (part.fieldnameTruncated || part.valueTruncated || length > maxFieldBytes)
          throw new ServiceError('TOO_LARGE', `the field \`${part.fieldname}\` is too long`)
        const before = Object.hasOwn(fields, part.fieldname) ? [fields[part.fieldname]].flat() : []
        fields[part.fieldname] = before.length > 0 ? [...before, part.value] : part.value
      }
    }
  } catch (error) {
    if (error instanceof ServiceError || error.statusCode) throw error
    throw wrong(`this is not complete multipart/form-data: ${error.message}`)
  }
  return { image, fields }
}

/**
 * Creates the reader of an endpoint, which returns `{ image, options }` of a request. `image` is bytes or undefined, and
 * `options` conforms to the schema. Throws ServiceError BAD_REQUEST, TOO_LARGE or UNSUPPORTED_MEDIA_TYPE.
 */
export function inputReader(schema, config) {
  const validate = ajv.compile(schema)
  return async request => {
    let image
    let own
    if (request.isMultipart()) {
      const form = await readForm(request, config)
      image = form.image
      own = typed(schema, form.fields)
    } else if (Buffer.isBuffer(request.body)) {
      image = request.body
      own = {}
    } else {
      if (request.body === null || typeof request.body !== 'object' || Array.isArray(request.body))
        throw wrong('the body must be a JSON object')
      const { image: text, ...rest } = request.body
      if (text !== undefined) image = decodeBase64(text)
      own = rest
    }
    const options = { ...typed(schema, request.query), ...own }
    if (!validate(options)) throw wrong(sentence(validate.errors.at(-1)))
    if (image?.length === 0) throw wrong('the image is empty: 0 bytes')
    return { image, options }
  }
}
