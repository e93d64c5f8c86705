/** What Ctrl-C, and whoever else ends a command, does to it: the terminal is as it was, and nothing half-written is left. */

/** Their numbers: a command that one of them ended exits with 128 and its number. */
const numbers = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const
const signals = Object.keys(numbers) as (keyof typeof numbers)[]

/** The reason that a command's signal is aborted with. */
class Interrupted extends Error {
  constructor(readonly code: number) {
    super('stopped')
  }
}

/** Bars hide the cursor while they are shown; a process that ends meanwhile leaves it hidden. */
const showCursor = (): void => {
  if (process.stderr.isTTY) process.stderr.write('\u001b[?25h')
}

const isOf = (error: unknown, stopped: Interrupted): boolean =>
  error === stopped || (error as { cause?: unknown } | undefined)?.cause === stopped

/**
 * Runs a command that the first Ctrl-C (or SIGTERM, or the end of its terminal) ends: its signal is aborted, and the
 * exit code is 130 (143, 129). A second one ends the process at once.
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
