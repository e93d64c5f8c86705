/** Turns byte counts into progress reports: at most ten per second, and always the last one. */

import type { DownloadProgress, HubSettings } from './options.js'

export class Reporter {
  private file = ''
  private total: number | undefined
  private before = 0
  private modelTotal: number | undefined
  private last = Number.NEGATIVE_INFINITY

  constructor(
    private readonly name: string,
    private readonly callback: HubSettings['onProgress'],
  ) {}

  /** Total size of all files; NaN while one of them is unknown. */
  expect(modelTotal: number) {
    this.modelTotal = Number.isNaN(modelTotal) ? undefined : modelTotal
  }

  start(file: string, total: number | undefined) {
    this.file = file
    this.total = total
    this.last = Number.NEGATIVE_INFINITY
  }

  readonly report = (phase: DownloadProgress['phase'], received: number, total = this.total) => {
    this.total = total
    const now = performance.now()
    if (phase !== 'done' && now - this.last < 100) return
    this.last = now
    const progress: DownloadProgress = {
      phase,
      name: this.name,
      file: this.file,
      received,
      modelReceived: this.before + received,
    }
    if (total !== undefined) progress.total = total
    if (this.modelTotal !== undefined) progress.modelTotal = this.modelTotal
    this.callback?.(progress)
  }

  end(bytes: number) {
    this.report('done', bytes, bytes)
    this.before += bytes
  }
}
