/** Exports a store to one file: .npy, Arrow or Parquet. A separate thread writes it (export-worker.ts). */

import { once } from 'node:events'
import { extname, join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { onAbort } from '../base/abort.js'
import { argumentError, ClipError, type ClipErrorCode, type ClipErrorDetails } from '../base/errors.js'

/** The task of the thread. */
export interface ExportJob {
  folder: string
  path: string
}

/** The thread's final message. A ClipError loses its class between threads, so its parts are sent and it is rebuilt. */
export interface ExportEnd {
  error?: unknown
  clip?: { code: ClipErrorCode; message: string; details: ClipErrorDetails }
}

const endings = ['.npy', '.arrow', '.feather', '.parquet']

/** The error for a thread that failed without a ClipError: it could not start, ran out of memory, or a library threw. */
function threadError(cause: unknown): ClipError {
  const { code, message } = (cause ?? {}) as NodeJS.ErrnoException
  if (code === 'ERR_WORKER_INIT_FAILED')
    return new ClipError(
      'ERR_CLIP_MEMORY',
      `The system could not start a thread for the export (${message}): raise the limit of processes and threads, or end some`,
      { cause },
    )
  if (
    code === 'ERR_WORKER_OUT_OF_MEMORY' ||
    (cause instanceof RangeError && /allocat|invalid .*length/i.test(message))
  )
    return new ClipError(
      'ERR_CLIP_MEMORY',
      `The thread that writes an export ran out of memory: ${message}`,
      {
        cause,
      },
    )
  return new ClipError('ERR_CLIP_INTERNAL', `The thread that writes an export failed: ${message ?? cause}`, {
    cause,
  })
}

function start(job: ExportJob): Worker {
  try {
    // Don't pass on the options of this process: some (such as --input-type) are invalid for a thread that runs a file.
    return new Worker(join(__dirname, 'export-worker.js'), { workerData: job, execArgv: [] })
  } catch (cause) {
    throw threadError(cause)
  }
}

export async function exportStore(
  folder: string,
  path: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!endings.includes(extname(path).toLowerCase()))
    throw argumentError('file', 'end with .npy, .arrow, .feather or .parquet', path)
  signal?.throwIfAborted()
  const job: ExportJob = { folder, path }
  const thread = start(job)
  const stop = () => thread.postMessage('stop')
  const deaf = onAbort(signal, stop)
  try {
    // An 'error' event of the thread rejects both promises.
    const failed = (cause: unknown): never => {
      throw threadError(cause)
    }
    const ended = once(thread, 'exit').catch(failed)
    const gone = ended.then(() => {
      throw new ClipError('ERR_CLIP_INTERNAL', 'The thread that writes an export ended without a message')
    })
    gone.catch(() => {}) // the thread also ends after its final message
    const message = once(thread, 'message').catch(failed)
    const [{ error, clip }] = (await Promise.race([message, gone])) as [ExportEnd]
    await ended
    signal?.throwIfAborted()
    if (clip) throw new ClipError(clip.code, clip.message, clip.details)
    if (error !== undefined) throw threadError(error)
  } finally {
    deaf()
  }
}
