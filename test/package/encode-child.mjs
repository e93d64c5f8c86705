// What a process of its own (forked, or a worker of a cluster) does with the package: one image and one text, sent to
// whoever started it. Ends by itself.
import process from 'node:process'
import { load } from 'clip-native'

const clip = await load()
const pixels = { data: new Uint8Array(90 * 60 * 3).map((_, i) => i % 253), width: 90, height: 60, channels: 3 }
const image = [...(await clip.encodeImage(pixels)).data]
const text = [...(await clip.encodeText('a dog')).data]
await clip.dispose()
process.send({ image, text }, () => process.disconnect())
