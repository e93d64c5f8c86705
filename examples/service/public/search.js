/** The lower half of the page: searches the server's images by words. */

import { search, wordsOf } from './api.js'
import { takeFromServer } from './classify.js'
import { element, imageButton } from './elements.js'

let running

function item(match) {
  const li = document.createElement('li')
  const choose = () => {
    element('classify').scrollIntoView()
    element('file').focus({ preventScroll: true })
    takeFromServer(match)
  }
  const caption = document.createElement('span')
  caption.className = 'caption'
  const score = document.createElement('span')
  score.className = 'cosine'
  score.textContent = match.score.toFixed(3)
  caption.append(match.id, score)
  li.append(imageButton(match, choose), caption)
  return li
}

async function run() {
  const words = element('words').value.trim()
  element('search-error').textContent = ''
  running?.abort()
  if (words === '') return
  running = new AbortController()
  const { signal } = running
  try {
    const { matches, images, milliseconds } = await search(words, 12, signal)
    element('matches').replaceChildren(...matches.map(item))
    element('found').textContent =
      `The best ${matches.length} of ${images} images (${milliseconds.toFixed(0)} ms)`
  } catch (error) {
    if (!signal.aborted) element('search-error').textContent = wordsOf(error)
  }
}

export function startSearch() {
  element('search').addEventListener('submit', event => {
    event.preventDefault()
    run()
  })
}
