/** Calls of the HTTP service. */

/** An error with a message from the server. */
class Failure extends Error {}

async function answer(response) {
  const body = await response.json().catch(() => undefined)
  if (response.ok) return body
  throw new Failure(body ? `${body.message}. ${body.help}` : `The server answered ${response.status}.`)
}

/** The message to show for an error. */
export const wordsOf = error =>
  error instanceof Failure ? error.message : 'The server can’t be reached. Is it running?'

export const model = async () => answer(await fetch('model'))

export async function classify(image, { labels, templateSet }, signal) {
  const form = new FormData()
  form.append('labels', labels.join(','))
  form.append('templateSet', templateSet)
  form.append('topK', '12')
  form.append('image', image, 'image')
  return answer(await fetch('classify', { method: 'POST', body: form, signal }))
}

export async function search(text, topK, signal) {
  const headers = { 'content-type': 'application/json' }
  const body = JSON.stringify({ text, topK })
  return answer(await fetch('search', { method: 'POST', headers, body, signal }))
}

/** Fetches an image from the server. */
export async function image(url) {
  const response = await fetch(url)
  if (!response.ok) throw new Failure(`${url}: the server answered ${response.status}.`)
  return response.blob()
}
