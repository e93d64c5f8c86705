/** Elements that both halves of the page use. */

export const element = id => document.getElementById(id)

/** A button that shows one of the server's images. */
export function imageButton({ id, url }, choose) {
  const button = document.createElement('button')
  button.type = 'button'
  button.className = 'image'
  button.dataset.id = id
  const image = document.createElement('img')
  image.src = url
  image.alt = `Classify ${id}`
  image.loading = 'lazy'
  button.append(image)
  button.addEventListener('click', choose)
  return button
}
