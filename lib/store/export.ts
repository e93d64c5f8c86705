/** A store as one file for others: .npy, Arrow or Parquet. Written by a thread of its own (export-worker.ts). */

import { once } from 'node:events'
import { extname, join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { onAbort } from '../abort.js'
import { argumentError, ClipError, type ClipErrorCode, type ClipErrorDetails } from '../errors.js'

/** What the thread is told. */
export interface ExportJob {
  folder: string
  path: string
}

/** What it says in the end. A ClipError is one no more when it has passed between threads, and is put together again. */
export interface ExportEnd {
  error?: unknown
  clip?: { code: ClipErrorCode; message: string; details: ClipErrorDetails }
}

const endings = ['.npy', '.arrow', '.feather', '.parquet']

export async function exportStore(
  folder: string,
  path: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!endings.includes(extname(path).toLowerCase()))
    throw argumentError('file', 'end with .npy, .arrow, .feather or .parquet', path)
  signal?.throwIfAborted()
  const job: ExportJob = { folder, path }
  // Without this process's own options: --input-type, say, is refused for a thread that runs a file.
  const thread = new Worker(join(__dirname, 'export-worker.js'), { workerData: job, execArgv: [] })
  const stop = () => thread.postMessage('stop')
  const deaf = onAbort(signal, stop)
  try {
    const ended = once(thread, 'exit')
    const gone = ended.then(() => {
      throw new ClipError('ERR_CLIP_INTERNAL', 'The thread that writes an export ended without a word')
    })
    gone.catch(() => {}) // it ends after its word, too
    const [{ error, clip }] = (await Promise.race([once(thread, 'message'), gone])) as [ExportEnd]
    await ended
    signal?.throwIfAborted()
    if (clip) throw new ClipError(clip.code, clip.message, clip.details)
    if (error !== undefined) throw error
  } finally {
    deaf()
  }
}
