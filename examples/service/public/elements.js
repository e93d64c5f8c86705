/** What both halves of the page are built of. */

export const element = id => document.getElementById(id)

/** A picture of the server that can be chosen. */
export function pictureButton({ id, url }, choose) {
  const button = document.createElement('button')
  button.type = 'button'
  button.className = 'picture'
  button.dataset.id = id
  const image = document.createElement('img')
  image.src = url
  image.alt = `Classify ${id}`
  image.loading = 'lazy'
  button.append(image)
  button.addEventListener('click', choose)
  return button
}
