/** lib/base/replace-file.ts: a file is whole or not there, whatever fails. */

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { replaceFile } from '../lib/base/replace-file.js'

const scratch = mkdtempSync(join(tmpdir(), 'clip-native-replace-'))
test.after.always(() => rmSync(scratch, { recursive: true, force: true }))

/** A folder with a file `it` in it. */
function folderWith(text: string): { folder: string; file: string } {
  const folder = mkdtempSync(join(scratch, 'case-'))
  const file = join(folder, 'it')
  writeFileSync(file, text)
  return { folder, file }
}

test('the new file takes the place of the old one in one step', async t => {
  const { folder, file } = folderWith('old')
  const result = await replaceFile(file, async handle => {
    await handle.write('ne')
    t.is(readFileSync(file, 'utf8'), 'old')
    await handle.write('w')
    return 7
  })
  t.is(result, 7)
  t.is(readFileSync(file, 'utf8'), 'new')
  t.deepEqual(readdirSync(folder), ['it'])
})

test('a new file has the requested mode', async t => {
  const { folder } = folderWith('')
  await replaceFile(join(folder, 'own'), handle => handle.writeFile('x'), { mode: 0o600 })
  t.is(statSync(join(folder, 'own')).mode & 0o777, process.platform === 'win32' ? 0o666 : 0o600)
})

for (const [what, write, check] of [
  ['writing', () => Promise.reject(new Error('no')), undefined],
  ['the last check', () => Promise.resolve(), () => Promise.reject(new Error('no'))],
] as const)
  test(`if ${what} fails, the old file is unchanged and no temporary file is left`, async t => {
    const { folder, file } = folderWith('old')
    await t.throwsAsync(replaceFile<unknown>(file, write, check ? { check } : {}), { message: 'no' })
    t.is(readFileSync(file, 'utf8'), 'old')
    t.deepEqual(readdirSync(folder), ['it'])
  })

test('a folder in place of the file is reported with the error of the system, and no temporary file is left', async t => {
  const { folder } = folderWith('')
  const place = join(folder, 'place')
  await mkdir(join(place, 'full'), { recursive: true })
  const refused = await t.throwsAsync(replaceFile(place, handle => handle.writeFile('x')))
  t.regex((refused as NodeJS.ErrnoException).code!, /^(EISDIR|ENOTEMPTY|EEXIST|EPERM)$/)
  t.deepEqual(readdirSync(folder), ['it', 'place'])
  await t.throwsAsync(
    replaceFile(join(folder, 'none', 'x'), handle => handle.writeFile('x')),
    { code: 'ENOENT' },
  )
})
