/** The same pixels for both sides, in the range of normalized ones: (batch, 3, size, size). */
export function pixels(batch: number, size: number): Float32Array {
  const x = new Float32Array(batch * 3 * size * size)
  let state = 12345
  for (let i = 0; i < x.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    x[i] = state / 2 ** 30
  }
  return x
}
