/** What Ctrl-C does to a command. */

/**
 * Runs a command that the first Ctrl-C ends: its signal is aborted, and the exit code is 130. A second Ctrl-C ends the
 * process at once.
 */
export async function untilInterrupted(run: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const control = new AbortController()
  const stopped = new Error('stopped')
  const stop = () => control.abort(stopped)
  process.once('SIGINT', stop)
  try {
    return await run(control.signal)
  } catch (error) {
    if (error !== stopped) throw error
    return 130
  } finally {
    process.off('SIGINT', stop)
  }
}
