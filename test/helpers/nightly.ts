import test from 'ava'

/** For what takes too long for every run: `npm run nightly` runs these, with CLIP_NIGHTLY=1. */
export const nightly = process.env.CLIP_NIGHTLY === '1' ? test : test.skip
