/** Handles Ctrl-C and other signals: the terminal is restored, and no partially written files are left. */

/** Signal numbers: a command that was ended by a signal exits with 128 plus its number. */
const numbers = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const
const signals = Object.keys(numbers) as (keyof typeof numbers)[]

/** The reason with which a command's AbortSignal is aborted. */
class Interrupted extends Error {
  constructor(readonly code: number) {
    super('stopped')
  }
}

/** Shows the cursor again, which progress bars hide, in case the process ends while a bar is shown. */
const showCursor = (): void => {
  if (process.stderr.isTTY) process.stderr.write('\u001b[?25h')
}

const isOf = (error: unknown, stopped: Interrupted): boolean =>
  error === stopped || (error as { cause?: unknown } | undefined)?.cause === stopped

/**
 * Runs a command. The first Ctrl-C (or SIGTERM, or SIGHUP) aborts its AbortSignal, and the exit code is 130 (143, 129). The
 * second one ends the process at once.
 */
export async function untilInterrupted(run: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const control = new AbortController()
  let stopped: Interrupted | undefined
  const stop = (name: NodeJS.Signals): void => {
    const code = 128 + numbers[name as keyof typeof numbers]
    if (stopped) {
      showCursor()
      process.exit(code)
    }
    stopped = new Interrupted(code)
    control.abort(stopped)
  }
  for (const name of signals) process.on(name, stop)
  try {
    return await run(control.signal)
  } catch (error) {
    if (!stopped || !isOf(error, stopped)) throw error
    return stopped.code
  } finally {
    for (const name of signals) process.off(name, stop)
  }
}
