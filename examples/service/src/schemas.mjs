/** The JSON Schemas of requests and responses. Requests are checked against them, and /openapi.json is generated from them. */

import { templateSets } from './classifiers.mjs'

const errorBody = {
  type: 'object',
  required: ['code', 'message', 'help'],
  properties: {
    code: { type: 'string', description: 'The same in every version; ERR_CLIP_* are those of clip-native.' },
    message: { type: 'string', description: 'What is wrong.' },
    help: { type: 'string', description: 'What to do about it.' },
  },
}

const failures = {
  400: 'A value of the wrong type or name, or too many of them',
  404: 'No such classifier, endpoint or image',
  408: 'The request did not arrive in time',
  413: 'A body over the limit',
  415: 'A content type that is not listed',
  422: 'An image that cannot be read or has too many pixels, or a text that is too long for the model',
  500: 'A fault of the service',
  503: 'Busy or shutting down: see Retry-After',
  504: 'No answer in time',
}

/** The responses of a route: its result and the failures. */
export const responses = (properties, description) => ({
  200: { description, type: 'object', required: Object.keys(properties), properties },
  ...Object.fromEntries(
    Object.entries(failures).map(([status, description]) => [status, { description, ...errorBody }]),
  ),
})

const predictions = {
  type: 'array',
  description: 'Best first.',
  items: {
    type: 'object',
    required: ['label', 'score', 'index'],
    properties: {
      label: { type: 'string' },
      score: {
        type: 'number',
        description: 'The probability over all labels, or the score that `as` selects.',
      },
      index: { type: 'integer', description: 'Index of the label, from 0.' },
    },
  },
}

const milliseconds = { type: 'number', description: 'Time from the complete body to the answer.' }

/** The options of each endpoint, without the image; the limits come from the configuration. */
export function optionsOf({ maxLabels, maxTexts, maxTextLength }) {
  const word = { type: 'string', minLength: 1, maxLength: maxTextLength }
  return {
    classify: {
      type: 'object',
      additionalProperties: false,
      properties: {
        labels: {
          description: 'Any words, separated by commas if the request is not JSON.',
          ...{ type: 'array', items: word, minItems: 1, maxItems: maxLabels },
        },
        templates: {
          description: 'Texts with {} in place of the label; their embeddings are averaged.',
          ...{ type: 'array', items: { ...word, pattern: '\\{\\}' }, minItems: 1, maxItems: 100 },
        },
        templateSet: {
          enum: Object.keys(templateSets),
          description: 'Instead of `templates`; default none.',
        },
        classifier: {
          ...{ type: 'string', pattern: '^[A-Za-z0-9_-]{1,64}$' },
          description: 'A saved classifier, instead of `labels`.',
        },
        topK: { type: 'integer', minimum: 1, maximum: maxLabels, description: 'Default 5.' },
        as: {
          enum: ['probability', 'logit', 'cosine'],
          description: 'Kind of score; default probability.',
        },
        threshold: { type: 'number', description: 'Only labels with at least this score.' },
      },
      oneOf: [{ required: ['labels'] }, { required: ['classifier'] }],
      dependentSchemas: {
        classifier: { not: { anyOf: [{ required: ['templates'] }, { required: ['templateSet'] }] } },
        templates: { not: { required: ['templateSet'] } },
      },
    },
    embed: {
      type: 'object',
      additionalProperties: false,
      properties: {
        texts: {
          description: 'Texts to embed, instead of an image.',
          ...{ type: 'array', items: word, minItems: 1, maxItems: maxTexts },
        },
      },
    },
    search: {
      type: 'object',
      additionalProperties: false,
      properties: {
        text: { ...word, description: 'Words to search for.' },
        weight: {
          ...{ type: 'number', minimum: 0, maximum: 1 },
          description: 'With words and an image: the weight of the words; default 0.5.',
        },
        topK: {
          type: 'integer',
          minimum: 1,
          maximum: 100,
          description: 'Number of images to return; default 10.',
        },
      },
    },
  }
}

export const answers = {
  classify: responses({ predictions, milliseconds }, 'The best labels'),
  embed: responses(
    {
      embeddings: {
        type: 'array',
        description: 'One row per text, or one for the image; each of length 1.',
        items: { type: 'array', items: { type: 'number' } },
      },
      embedDim: { type: 'integer' },
      fingerprint: {
        type: 'string',
        description: 'Identifies the weights: embeddings of other weights cannot be compared.',
      },
      milliseconds,
    },
    'Embeddings in the joint space of images and texts',
  ),
  search: responses(
    {
      matches: {
        type: 'array',
        description: 'Best first.',
        items: {
          type: 'object',
          required: ['id', 'url', 'score'],
          properties: {
            id: { type: 'string', description: "The image's path in the folder." },
            url: { type: 'string' },
            score: { type: 'number', description: 'Cosine.' },
          },
        },
      },
      images: { type: 'integer', description: 'Number of images that were searched.' },
      milliseconds,
    },
    'The best images',
  ),
}

const binary = { type: 'string', format: 'binary' }

/** The part of /openapi.json for the three forms of a body, and for the query parameters of a raw body. */
export function documented(options, { image }) {
  const { properties, oneOf, ...rest } = options
  const required = image === 'required' ? ['image'] : []
  const body = schema => ({
    schema: {
      ...rest,
      ...(oneOf ? { oneOf } : {}),
      ...(required.length > 0 ? { required } : {}),
      properties: { image: schema, ...properties },
    },
  })
  return {
    querystring: { type: 'object', properties },
    body: {
      content: {
        'image/*': { schema: binary },
        'application/octet-stream': { schema: binary },
        'multipart/form-data': body(binary),
        'application/json': body({ type: 'string', description: 'base64, without `data:`' }),
      },
    },
  }
}
