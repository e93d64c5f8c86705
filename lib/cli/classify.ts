import { argumentError } from '../errors.js'
import { loadFor, type ModelOptions, number, progress } from './model.js'
import { bold, chart, dim, errorJson, errorLine, print, printable } from './output.js'

export interface ClassifyCommand extends ModelOptions {
  labels: string
  template?: string[]
  top?: string
  json?: boolean
}

/** Exit code: 1 when a picture could not be read. */
export async function classify(images: string[], options: ClassifyCommand): Promise<number> {
  const labels = options.labels
    .split(',')
    .map(label => label.trim())
    .filter(label => label !== '')
  if (labels.length === 0)
    throw argumentError('--labels', 'have labels with commas between them', options.labels)
  await using clip = await loadFor(options)
  const classifier = await clip.classifier(labels, options.template ? { templates: options.template } : {})
  const topK = number(options.top)
  const bar = progress(images.length, 'pictures')
  let failed = 0
  let done = 0
  try {
    for await (const item of classifier.stream(images, topK === undefined ? {} : { topK })) {
      const image = images[item.index]!
      if (item.error) failed++
      if (options.json)
        await print(
          JSON.stringify(
            item.error ? { image, error: errorJson(item.error) } : { image, predictions: item.predictions },
          ),
        )
      else if (item.error) process.stderr.write(`clip-native: ${errorLine(item.error)}\n`)
      else await print(`${done > 0 ? '\n' : ''}${bold(printable(image))}\n${chart(item.predictions)}`)
      bar.update(++done)
    }
  } finally {
    bar.stop()
  }
  if (!options.json && options.model === undefined && process.stdout.isTTY)
    await print(dim('\nThe embedded model knows icons and emoji, not photographs: --model takes another.'))
  return failed > 0 ? 1 : 0
}
