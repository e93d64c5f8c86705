/** Bars whose elements are reused while scores change, so that they move instead of jumping. */

const reduced = matchMedia('(prefers-reduced-motion: reduce)')

export class Bars {
  #list
  #rows = new Map()

  constructor(list) {
    this.#list = list
  }

  /** `predictions`: [{ label, score }], best first; scores from 0 to 1. */
  show(predictions) {
    const before = new Map([...this.#rows].map(([label, row]) => [label, row.offsetTop]))
    const now = new Map()
    for (const { label, score } of predictions) {
      const row = this.#rows.get(label) ?? this.#row(label)
      row.style.setProperty('--score', String(score))
      row.querySelector('.score').textContent = `${(100 * score).toFixed(1)} %`
      now.set(label, row)
    }
    this.#rows = now
    this.#list.replaceChildren(...now.values())
    if (reduced.matches) return
    for (const [label, row] of now) {
      const from = before.get(label)
      if (from === undefined || from === row.offsetTop) continue
      const moved = `translateY(${from - row.offsetTop}px)`
      row.animate([{ transform: moved }, { transform: 'none' }], { duration: 300, easing: 'ease' })
    }
  }

  #row(label) {
    const row = document.createElement('li')
    for (const [name, text] of [
      ['label', label],
      ['score', ''],
    ]) {
      const span = document.createElement('span')
      span.className = name
      span.textContent = text
      row.append(span)
    }
    return row
  }
}
