/** Whether scripts/test-arm64.mjs runs these tests: on an emulated processor, with an emulator in the process. */
export const emulated = process.env.CLIP_NATIVE_TEST_EMULATED === '1'

/** What a time allowed to a test is multiplied with: an emulated processor is 20 to 60 times as slow as a real one. */
export const patience = emulated ? 30 : 1

/** Bytes by which the process may grow besides: the emulator keeps what it has translated. */
export const emulatorBytes = emulated ? 150e6 : 0
