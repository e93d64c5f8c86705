// npm run lint ends with this: lists files of more than 400 lines, as advice. A long file often contains two
// things, but one thing should not be split because of its length. Never fails.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

const limit = 400
const patterns = ['ts', 'mts', 'mjs', 'h', 'cc', 'inl', 'cu', 'cuh'].map(ending => `*.${ending}`)
const files = execFileSync('git', ['ls-files', ...patterns], { encoding: 'utf8' })
  .trim()
  .split('\n')
const long = files
  .filter(file => !file.endsWith('.generated.ts'))
  .map(file => ({ file, lines: readFileSync(file, 'utf8').split('\n').length - 1 }))
  .filter(({ lines }) => lines > limit)
  .sort((a, b) => b.lines - a.lines)
if (long.length > 0) console.log(`Files of more than ${limit} lines, which may be two things in one:`)
for (const { file, lines } of long) console.log(`${String(lines).padStart(6)}  ${file}`)
