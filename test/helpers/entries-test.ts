/** Tests of what only a source build of the addon has: skipped by name where it was built without (lib/native/test-entries.ts). */

import ava, { type TestFn } from 'ava'
import { hasTestEntries } from '../../lib/native/test-entries.js'

/** Why they are skipped, or undefined. */
export const lackingEntries = hasTestEntries() ? undefined : 'this addon was built with CLIP_TEST_ENTRIES=OFF'

/** A title with the reason behind it. */
const skipped = (title: string) => ava.skip(`${title} (${lackingEntries})`, () => {})

/** ava's `test`, and `test.serial`, or what skips them. */
export const entriesTest: TestFn = lackingEntries
  ? (Object.assign(skipped, { serial: skipped, before: () => {}, after: { always: () => {} } }) as never)
  : ava
