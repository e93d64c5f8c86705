/** The upper half of the page: classifies an image and shows the scores of its labels as bars. */

import { classify, image as fetchImage, wordsOf } from './api.js'
import { Bars } from './bars.js'
import { element, imageButton } from './elements.js'

const notes = {
  icons: 'Seven prompts for icons, averaged.',
  imagenet7: 'Seven prompts for photographs, averaged.',
  imagenet80: 'The 80 prompts of the CLIP paper, averaged.',
}

const noImage = 'Choose an image to see how well each label fits.'
const bars = new Bars(element('bars'))
let image
let running
let timer

function labels() {
  const words = element('labels').value.split(',')
  return [...new Set(words.map(word => word.trim()).filter(word => word !== ''))]
}

async function run() {
  clearTimeout(timer)
  running?.abort()
  element('classify-error').textContent = ''
  const names = labels()
  if (!image || names.length === 0) {
    bars.show([])
    element('result').textContent = image ? 'Type one or more labels.' : noImage
    return
  }
  running = new AbortController()
  const { signal } = running
  try {
    const { predictions, milliseconds } = await classify(
      image,
      { labels: names, templateSet: element('templates').value },
      signal,
    )
    bars.show(predictions)
    const [{ label, score }] = predictions
    element('result').textContent = `${label}, ${(100 * score).toFixed(1)} % (${milliseconds.toFixed(0)} ms)`
  } catch (error) {
    if (signal.aborted) return
    bars.show([])
    element('result').textContent = ''
    element('classify-error').textContent = wordsOf(error)
  }
}

/** Shows and classifies an image; `name` is its name for screen readers. */
export function take(blob, name) {
  image = blob
  const preview = element('preview')
  if (preview.src) URL.revokeObjectURL(preview.src)
  preview.src = URL.createObjectURL(blob)
  preview.alt = `The image to classify: ${name}`
  preview.hidden = false
  element('invitation').hidden = true
  for (const button of document.querySelectorAll('#examples .image'))
    button.setAttribute('aria-pressed', String(button.dataset.id === name))
  return run()
}

/** Classifies an image on the server. */
export async function takeFromServer({ id, url }) {
  try {
    await take(await fetchImage(url), id)
  } catch (error) {
    element('classify-error').textContent = wordsOf(error)
  }
}

function takeFirst(files) {
  const file = [...files].find(({ type }) => type.startsWith('image/'))
  if (file) take(file, file.name)
  else element('classify-error').textContent = 'That file is not an image.'
}

export function startClassify({ templateSets, embedded }) {
  const choice = element('templates')
  for (const [name, texts] of Object.entries(templateSets)) {
    choice.add(new Option(texts.length > 1 ? name : texts[0] === '{}' ? 'none' : texts[0], name))
  }
  choice.value = embedded ? 'icon' : 'photo'
  const explain = () => {
    element('templates-note').textContent = notes[choice.value] ?? ''
  }
  explain()
  element('result').textContent = noImage
  choice.addEventListener('change', () => {
    explain()
    run()
  })
  element('labels').addEventListener('input', () => {
    clearTimeout(timer)
    timer = setTimeout(run, 250)
  })
  element('file').addEventListener('change', event => takeFirst(event.target.files))
  document.addEventListener('paste', event => {
    const { files } = event.clipboardData
    if (files.length === 0) return // text pasted into a field
    event.preventDefault()
    takeFirst(files)
  })

  const drop = element('drop')
  // The whole page accepts a drop, because a drop beside the frame would make the browser open the image itself.
  for (const type of ['dragenter', 'dragover'])
    document.addEventListener(type, event => {
      event.preventDefault()
      drop.classList.add('over')
    })
  document.addEventListener('dragleave', event => {
    if (!event.relatedTarget) drop.classList.remove('over')
  })
  document.addEventListener('drop', event => {
    event.preventDefault()
    drop.classList.remove('over')
    takeFirst(event.dataTransfer.files)
  })
}

/** Shows some of the server's images as examples. */
export function showExamples(matches) {
  const group = element('examples')
  group.replaceChildren(...matches.map(match => imageButton(match, () => takeFromServer(match))))
  group.hidden = matches.length === 0
}
