// A function of a serverless platform: the model is opened once for each instance, off the first request where the
// platform allows it, and never fetched from the network.
import { load } from 'clip-native'

// Before any request. Without `await`: importing must be quick, and a failure belongs to the request that needs it.
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
