/** scripts/test-arm64.mjs runs the tests on an emulated processor, which is 20 to 60 times as slow as a real one. */
export const emulated = process.env.CLIP_NATIVE_TEST_EMULATED === '1'

/** What a time allowed to a test is multiplied with. */
export const patience = emulated ? 30 : 1

/** All; on an emulated processor every twentieth, where all would take hours. */
export const sample = <T>(all: T[]): T[] => (emulated ? all.filter((_, i) => i % 20 === 0) : all)
