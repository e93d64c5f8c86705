/** Opens models and stores, and closes them whatever happens in between. */
import { load } from 'clip-native'

/** Runs `body` on a model's image tower; `source` as `load` takes it, null for the embedded model. */
export async function withModel(source, options, body) {
  const clip = await load(source ?? undefined, { towers: ['image'], ...options })
  try {
    return await body(clip)
  } finally {
    await clip.dispose()
  }
}

export async function withStore(clip, folder, options, body) {
  const store = await clip.openStore(folder, options)
  try {
    return await body(store)
  } finally {
    await store.close()
  }
}
