/** A process that wants a model: argv = name, options as JSON. Prints progress and the outcome, one JSON a line. */

import { resolveName } from '../../lib/hub/index.js'

const [name, options] = process.argv.slice(2)
const print = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`)
if (process.env.TEST_UID !== undefined) process.setuid!(Number(process.env.TEST_UID))
try {
  const onProgress = (progress: object) => print({ progress })
  print({ path: await resolveName(name, { ...JSON.parse(options), onProgress }) })
} catch (error) {
  const { code, message } = error as NodeJS.ErrnoException
  print({ code, message })
  process.exitCode = 1
}
