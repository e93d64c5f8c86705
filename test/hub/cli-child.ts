/** A program with nothing but the two commands, as the command line registers them. */

import { Command } from 'commander'
import { registerDownload } from '../../lib/cli/download.js'
import { registerModels } from '../../lib/cli/models.js'

// A pipe that says it is a terminal: what a bar writes can be read.
if (process.env.TEST_TERMINAL) Object.assign(process.stderr, { isTTY: true, columns: 120 })

const program = new Command('clip-native')
registerModels(program)
registerDownload(program)
try {
  await program.parseAsync()
} catch (error) {
  process.stderr.write(`${(error as NodeJS.ErrnoException).code}: ${(error as Error).message}\n`)
  process.exitCode = 1
}
