import { version } from '../base/package.js'
import type { ClipInfo } from '../clip.js'
import { untilInterrupted } from './interrupt.js'
import { loadFor, type ModelOptions } from './model.js'
import { print, table } from './output.js'

/** Prints facts about a model: sizes, towers and backend. */
export async function info(options: ModelOptions & { json?: boolean }): Promise<number> {
  return untilInterrupted(signal => tell(options, signal))
}

function scores({ scoring, logitScale, logitBias }: ClipInfo): string {
  if (Number.isNaN(logitScale)) return 'cosines only: the checkpoint has no logit_scale'
  const bias = logitBias === 0 ? '' : ` ${logitBias < 0 ? '-' : '+'} ${Math.abs(logitBias).toFixed(4)}`
  return `${scoring} of ${logitScale.toFixed(4)} x cosine${bias}`
}

async function tell(options: ModelOptions & { json?: boolean }, signal: AbortSignal): Promise<number> {
  await using clip = await loadFor(options, { signal })
  const { info } = clip
  if (options.json) {
    await print(JSON.stringify({ version, model: options.model ?? 'icon-clip', ...info }))
    return 0
  }
  await print(
    table([
      ['model', options.model ?? 'icon-clip (embedded: icons and emoji, not photographs)'],
      ['towers', info.towers.join(', ')],
      [
        'joint space',
        info.embedDim === 0 ? "none: only outputs 'pooled' and 'tokens'" : `${info.embedDim} values`,
      ],
      ['images', info.imageSize === undefined ? '-' : `${info.imageSize} x ${info.imageSize} pixels`],
      ['texts', info.contextLength === undefined ? '-' : `up to ${info.contextLength} tokens`],
      ['files', info.family],
      ['tokenizer', info.tokenizer ?? '-'],
      ['scores', scores(info)],
      ...(info.folded.length > 0 ? [['folded', info.folded.join(', ')] as const] : []),
      ['runs on', `${info.device}: ${info.backend}, ${info.dtype}, threads: ${info.threads}`],
      ['packed weights', `cache: ${info.packCache}`],
      ['fingerprint', info.fingerprint],
      ...(info.ignored ? [['not used', info.ignored.join(', ')] as const] : []),
    ]),
  )
  return 0
}
