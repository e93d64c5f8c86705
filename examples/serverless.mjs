// A function for a serverless platform. The model is opened once per instance, before the first request if the platform
// allows it, and never downloaded.
import { load } from 'clip-native'

// Opened before any request, and without `await`: importing must be quick, and a failure is reported to the request that
// needs the model.
const opening = load(undefined, {
  towers: ['text'], // half of the memory and of the start; 'image' where images come in
  threads: 1, // what the platform gives
  offline: true, // a model that is missing in the image is an error, not a download
})
opening.catch(() => {})

/** { texts: string[] } to { embeddings: number[][] }. */
export async function handler(event) {
  const clip = await opening
  const embeddings = await clip.encodeText(event.texts, { truncate: true })
  return { embeddings: Array.from(embeddings, row => Array.from(row)) }
}
