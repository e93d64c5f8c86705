import { model, search, wordsOf } from './api.js'
import { showExamples, startClassify } from './classify.js'
import { element } from './elements.js'
import { startSearch } from './search.js'

try {
  const about = await model()
  startClassify(about)
  startSearch()
  element('about').textContent = about.embedded
    ? 'The embedded model knows icons and emoji, not photographs. Nothing leaves this server.'
    : `${about.model.imageSize} px, embeddings of ${about.model.embedDim} numbers, ${about.model.dtype} on ${about.model.backend}. Nothing leaves this server.`
  if (about.images.count > 0) showExamples((await search('a picture', 12)).matches)
} catch (error) {
  element('classify-error').textContent = wordsOf(error)
}
