import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { makeFolder } from '../lib/base/make-folder.js'

const root = mkdtempSync(join(tmpdir(), 'clip-make-folder-'))
test.after.always(() => rmSync(root, { recursive: true, force: true }))

test('callers that create the same parents at the same time all succeed, and each folder is reported by one of them', async t => {
  for (let round = 0; round < 50; round++) {
    const top = join(root, `${round}`)
    const folders = Array.from({ length: 16 }, (_, i) => join(top, 'hub', 'model', `${i % 3}`))
    const made = (await Promise.all(folders.map(folder => makeFolder(folder)))).flat()
    t.true(folders.every(folder => existsSync(folder)))
    t.deepEqual(made.sort(), [top, join(top, 'hub'), join(top, 'hub', 'model'), ...new Set(folders)].sort())
  }
})

test('created folders are reported from the outermost on, existing ones are not', async t => {
  const folder = join(root, 'a', 'b')
  t.deepEqual(await makeFolder(folder), [join(root, 'a'), folder])
  t.deepEqual(await makeFolder(folder), [])
})

if (process.platform === 'linux')
  test('the call rejects if the system refuses every new name', async t => {
    await t.throwsAsync(makeFolder('/proc/clip-native/a'), { code: 'ENOENT' })
  })
