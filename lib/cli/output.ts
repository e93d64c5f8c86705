/** Output of the command line, for people and for scripts. */

import { ClipError, printable } from '../base/errors.js'
import { withFlags } from './flags.js'

/** Colours are used only on a terminal, and not if NO_COLOR is set (https://no-color.org). */
export function colours(stream: { isTTY?: boolean } = process.stdout): boolean {
  return stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb'
}

const paint = (code: string) => (text: string) => (colours() ? `\u001b[${code}m${text}\u001b[0m` : text)
export const bold = paint('1')
export const green = paint('32')
export const dim = paint('2')

/** Columns to use: the width of the terminal, at most 100; 80 without a terminal. */
export function columns(): number {
  const env = Number(process.env.COLUMNS)
  const width = process.stdout.columns || (Number.isInteger(env) && env > 0 ? env : 80)
  return Math.max(20, Math.min(100, width))
}

/** Display width of a text: wide East Asian characters and emoji take two columns, combining marks none. */
export function displayWidth(text: string): number {
  let width = 0
  for (const char of text) {
    if (/\p{Mark}|\u200d|[\ufe00-\ufe0f]/u.test(char)) continue
    width +=
      /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/u.test(
        char,
      )
        ? 2
        : 1
  }
  return width
}

/** Cut to at most `width` columns, with an ellipsis, and padded to it. */
export function inColumns(text: string, width: number): string {
  let out = text
  if (displayWidth(out) > width) {
    const chars = [...text]
    do chars.pop()
    while (chars.length > 0 && displayWidth(chars.join('')) > width - 1)
    out = `${chars.join('')}…`
  }
  return out + ' '.repeat(Math.max(0, width - displayWidth(out)))
}

const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']

/** A bar of `value` (0 to 1) in at most `width` columns, to an eighth of a column. */
export function bar(value: number, width: number): string {
  const units = Math.round(Math.max(0, Math.min(1, value)) * width * 8)
  return '█'.repeat(units >> 3) + eighths[units & 7]
}

/** One line per label with name, bar and percentage; the first is highlighted. */
export function chart(predictions: readonly { label: string; score: number }[], width = columns()): string {
  const labels = predictions.map(p => printable(p.label))
  const labelWidth = Math.min(Math.max(...labels.map(displayWidth)), Math.floor(width / 3))
  const barWidth = Math.max(4, width - labelWidth - 13)
  return predictions
    .map(({ score }, i) => {
      const line = `${inColumns(labels[i]!, labelWidth)}  ${inColumns(bar(score, barWidth), barWidth)} ${(100 * score).toFixed(1).padStart(5)} %`
      return `  ${i === 0 ? green(line) : line}`
    })
    .join('\n')
}

/** One line per label with name and number, for scores that don't add up to 1. */
export function scores(predictions: readonly { label: string; score: number }[], width = columns()): string {
  const labels = predictions.map(p => printable(p.label))
  const labelWidth = Math.min(Math.max(...labels.map(displayWidth)), width - 14)
  return predictions
    .map(({ score }, i) => {
      const line = `${inColumns(labels[i]!, labelWidth)}  ${score.toFixed(4).padStart(10)}`
      return `  ${i === 0 ? green(line) : line}`
    })
    .join('\n')
}

/** Two columns: names and values; values may be untrusted text. */
export function table(rows: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${bold(name.padEnd(width))}  ${printable(value)}`).join('\n')
}

/** A failure as data, for --json. */
export function errorJson(error: unknown): Record<string, unknown> {
  const e = error as Error & Partial<ClipError>
  const { code, file, field, expected, actual, index } = e
  return {
    code: code ?? 'ERR_CLIP_INTERNAL',
    message: withFlags(e?.message ?? String(error)),
    file,
    field,
    expected,
    actual,
    index,
  }
}

/**
 * Formats an error for people, usually in one line; the lines of this package's own messages are kept. Unexpected errors keep
 * their stack, because they are bugs.
 */
export function errorLine(error: unknown): string {
  const e = error as Error & { code?: string }
  const known = error instanceof ClipError || e?.code === 'ERR_CLIP_INPUT'
  return known ? withFlags(e.message).split('\n').map(printable).join('\n') : String(e?.stack ?? error)
}

/** Prints to stdout, waiting while the reader is slow. */
export async function print(text: string): Promise<void> {
  if (!process.stdout.write(`${text}\n`)) await new Promise(resolve => process.stdout.once('drain', resolve))
}
