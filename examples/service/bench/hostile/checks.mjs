/** The right answers, and what a clear refusal is. */

import { exampleImage, labels } from '../../test/service.mjs'

const imageNames = ['dog.png', 'anchor.png', 'pizza.png', 'bicycle.jpg', 'rocket.png', 'guitar.jpg']
export const query = `labels=${labels.join(',')}&templateSet=icon`
export const texts = ['an icon of a dog', 'a red rocket']

/** The right answers, from the library itself. */
export async function rightAnswers(clip) {
  const classifier = await clip.classifier(labels, { templates: 'an icon of {}' })
  const images = []
  for (const name of imageNames) {
    const bytes = await exampleImage(name)
    const predictions = await classifier.classify(bytes)
    const embedding = [...(await clip.encodeImage(bytes)).row(0)]
    images.push({ name, bytes, predictions, embedding })
  }
  const rows = await clip.encodeText(texts)
  return { images, texts: texts.map((_, i) => [...rows.row(i)]) }
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b)
/** A result, and the right one to the last bit. */
export const exactly = (read, expected) => answer =>
  answer.status === 200 && same(read(answer.json), expected) ? '' : 'not the right result'
/** A failure with this status and code, explained. */
export const refusal =
  (...allowed) =>
  answer => {
    const { status, json } = answer
    if (!allowed.some(([s, code]) => s === status && (!code || json?.code === code)))
      return `expected ${allowed.map(a => a.join(' ')).join(' or ')}`
    return json?.code && json.message && json.help ? '' : 'a failure without explanation'
  }
export const image422 = refusal([422, 'ERR_CLIP_IMAGE'])
export const bad400 = refusal([400, 'BAD_REQUEST'])
