/**
 * What a time allowed to a test is multiplied with. scripts/test-arm64.mjs runs the tests on an emulated processor, which is
 * 20 to 60 times as slow as a real one.
 */
export const patience = process.env.CLIP_NATIVE_TEST_EMULATED === '1' ? 30 : 1
