/** The endpoints that do the work. */

import { Classifiers, templateSets } from './classifiers.mjs'
import { ServiceError } from './errors.mjs'
import { inputReader } from './inputs.mjs'
import { answers, documented, optionsOf } from './schemas.mjs'

const needImage = () =>
  new ServiceError('BAD_REQUEST', 'there is no image: send it as the body, or as `image`')

export function workRoutes(app, { clip, images, config, admission }) {
  const classifiers = new Classifiers(clip, config)
  const options = optionsOf(config)

  /** POST `url`: reads the request, then `work({ image, options, signal })` computes the answer. */
  const route = (url, name, { image, summary }, work) => {
    const read = inputReader(options[name], config)
    app.post(url, {
      schema: { summary, ...documented(options[name], { image }), response: answers[name] },
      onRequest: admission.onRequest,
      handler: async (request, reply) => {
        const input = await read(request)
        const began = performance.now()
        const answer = await admission.run(reply, signal => work({ ...input, signal }))
        return { ...answer, milliseconds: Math.round(100 * (performance.now() - began)) / 100 }
      },
    })
  }

  route(
    '/classify',
    'classify',
    { image: 'required', summary: 'Classifies an image with labels' },
    async ({ image, options: { topK, as, threshold, ...labels }, signal }) => {
      if (!image) throw needImage()
      const classifier = await classifiers.of(labels, signal)
      return { predictions: await classifier.classify(image, { topK, as, threshold, signal }) }
    },
  )

  route(
    '/embed',
    'embed',
    { image: 'optional', summary: 'Embeds an image or texts' },
    async ({ image, options: { texts }, signal }) => {
      if (!image === !texts) throw new ServiceError('BAD_REQUEST', 'give either an image or `texts`')
      const rows = image
        ? await clip.encodeImage(image, { signal })
        : await clip.encodeText(texts, { signal })
      return {
        embeddings: Array.from({ length: rows.shape[0] }, (_, i) => Array.from(rows.row(i))),
        embedDim: clip.info.embedDim,
        fingerprint: clip.info.fingerprint,
      }
    },
  )

  route(
    '/search',
    'search',
    { image: 'optional', summary: 'Finds images of the folder by words, by an image or by both' },
    async ({ image, options: { text, weight, topK = 10 }, signal }) => {
      if (!image && text === undefined) throw new ServiceError('BAD_REQUEST', 'give `text`, an image or both')
      return images.search({ text, image, weight }, { topK, signal })
    },
  )

  app.get('/model', {
    schema: { summary: 'Describes the model, the names for requests, and the limits' },
    handler: async () => {
      const { maxBodyBytes, maxJsonBytes, maxPixels, maxLabels, maxPrompts, maxTexts, maxTextLength } = config
      const { embedDim, imageSize, contextLength, device, backend, dtype, threads, fingerprint } = clip.info
      return {
        model: { embedDim, imageSize, contextLength, device, backend, dtype, threads, fingerprint },
        embedded: config.model === '',
        templateSets,
        classifiers: await classifiers.names(),
        images: images.state(),
        limits: { maxBodyBytes, maxJsonBytes, maxPixels, maxLabels, maxPrompts, maxTexts, maxTextLength },
      }
    },
  })

  return { classifiers }
}
