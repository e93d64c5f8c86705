import test from 'ava'

/** Whether the tests run that take too long for every run: `npm run test:nightly` runs each test file that imports this. */
export const isNightly = process.env.CLIP_NIGHTLY === '1'

/** A test for the night only. */
export const nightly = isNightly ? test : test.skip
