/** `clip-native build`: compiles the addon of this package if no prebuilt one fits. The output of the tools goes to stderr. */

import { spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ClipError } from '../base/errors.js'
import { packageRoot } from '../base/package.js'
import { print } from './output.js'

/** Exit status of a Node program, or the signal that ended it. All of its output goes to stderr. */
function node(args: string[], env: NodeJS.ProcessEnv = {}): Promise<number | string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      cwd: packageRoot,
      stdio: ['ignore', 2, 2],
      env: { ...process.env, ...env },
    })
    child.on('error', reject)
    child.on('close', (status, signal) => resolve(signal ?? status ?? 1))
  })
}

/** Loads the addon in a separate process, because loading a broken one may crash the process, and says what it runs on. */
export async function checkLoads(): Promise<void> {
  const module = JSON.stringify(pathToFileURL(join(__dirname, '..', 'native', 'addon.js')).href)
  const script = `import { binding } from ${module}; console.log('It runs on ' + binding().active() + '.')`
  const loaded = await node(['--input-type=module', '-e', script], { CLIP_NATIVE_ADDON: '' })
  if (loaded !== 0)
    throw new ClipError('ERR_CLIP_BACKEND', 'The addon was built, but it does not load: see above.', {
      actual: String(loaded),
    })
}

/**
 * Checks the tools, builds with CMake and loads the result. Needs CMake 3.18, make or ninja and a C++20 compiler; the
 * headers of Node come with the package, so nothing is downloaded.
 *
 * @returns the exit code: 1 when a tool is missing, which stderr names with how to get it
 * @throws ERR_CLIP_BACKEND when the build fails, or its result does not load
 */
export async function build(): Promise<number> {
  if ((await node([join(packageRoot, 'scripts', 'require-tools.mjs')])) !== 0) return 1
  const cmakeJs = require.resolve('cmake-js/bin/cmake-js')
  const args = [
    'build',
    '-d',
    packageRoot,
    '--out',
    join(packageRoot, 'build', 'cmake'),
    '--log-level',
    'error',
    '--CDCLIP_TEST_ENTRIES=OFF',
  ]
  process.stderr.write(`Building in ${packageRoot}: this takes some minutes.\n`)
  const built = await node([cmakeJs, ...args], {
    CMAKE_BUILD_PARALLEL_LEVEL: process.env.CMAKE_BUILD_PARALLEL_LEVEL ?? String(availableParallelism()),
  })
  if (built !== 0)
    throw new ClipError('ERR_CLIP_BACKEND', `The addon could not be built in ${packageRoot}: see above.`, {
      actual: String(built),
    })
  await checkLoads()
  await print(join(packageRoot, 'build', 'Release', 'clip_native.node'))
  return 0
}
