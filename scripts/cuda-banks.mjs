// Bank conflicts of the kernels: the PTX interpreter (cuda/emulator/banks.h) counts them from the addresses
// of a warp's lanes, on the shapes of test/cuda/bank_cases.cc. Needs CMake and a C++20 compiler.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fail, root, run } from './cuda-compile.mjs'

/**
 * Kernel -> kind of access -> [accesses, minimal wavefronts, wavefronts]; kernels without shared memory are
 * left out.
 */
export function bankConflicts(ptxFolder) {
  const folder = join(root, 'build/cuda')
  run('cmake', ['-S', 'test/cuda', '-B', folder])
  run('cmake', ['--build', folder, '--parallel', '2', '--target', 'cuda_tests'])
  const { stdout, error } = spawnSync(join(folder, 'cuda_tests'), ['banks-ptx'], {
    encoding: 'utf8',
    env: { ...process.env, CUDA_TESTS_PTX: ptxFolder },
  })
  if (error || !/^1\.\./m.test(stdout)) fail(`cuda_tests banks-ptx: ${error?.message ?? stdout}`)
  return new Map(
    [...stdout.matchAll(/^# banks (\w+) (.*)$/gm)].map(([, kernel, json]) => [kernel, JSON.parse(json)]),
  )
}

/** A cell of the report: wavefronts beyond the minimum, for all kinds together, and which kinds have any. */
export function bankCell(kinds) {
  if (!kinds) return 'no shared memory'
  const all = Object.values(kinds)
  const sum = i => all.reduce((total, counts) => total + counts[i], 0)
  const extra = sum(2) - sum(1)
  if (extra === 0) return `0 of ${sum(1)}`
  const guilty = Object.entries(kinds).filter(([, [, least, taken]]) => taken > least)
  const parts = guilty.map(([kind, [, least, taken]]) => `${kind} ${taken - least} of ${least}`)
  return `${((100 * extra) / sum(1)).toFixed(1)} % (${parts.join(', ')})`
}
