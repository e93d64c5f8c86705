// An installed package for which there is no prebuilt addon.
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { runSmoke } from './installs.mjs'
import { check, expect, npmInstall, project, run } from './support.mjs'

/** Makes every attempt to download something fail. */
const offline = {
  HTTP_PROXY: 'http://127.0.0.1:9',
  HTTPS_PROXY: 'http://127.0.0.1:9',
  http_proxy: 'http://127.0.0.1:9',
  https_proxy: 'http://127.0.0.1:9',
  npm_config_offline: 'true',
}

export async function testBuild({ tarball, folder }) {
  const at = project(join(folder, 'project'))
  if (!(await check('npm installs it', () => npmInstall(at, [tarball]).then(() => '')))) return
  rmSync(join(at, 'node_modules/clip-native/prebuilds'), { recursive: true })
  await check('without a prebuilt addon the error names the one command', async () => {
    const script = `import('clip-native').then(m => m.load()).catch(e => { console.log(e.code, e.message); process.exitCode = 3 })`
    const output = await run(process.execPath, ['-e', script], { cwd: at, status: 3 })
    expect(
      /ERR_CLIP_BACKEND No native addon for .*looked for .*prebuilds.*npx clip-native build/.test(output),
      output,
    )
  })
  await check('npx clip-native build says which tool is missing', async () => {
    const output = await run(process.execPath, ['node_modules/.bin/clip-native', 'build'], {
      cwd: at,
      path: '/nowhere',
      status: 1,
    })
    expect(/Missing: CMake/.test(output) && /Missing: a C\+\+20 compiler/.test(output), output)
  })
  await check('npx clip-native build compiles it, without a network', async () => {
    const output = await run('npx', ['clip-native', 'build'], { cwd: at, env: offline, seconds: 3600 })
    expect(/It runs on \w+/.test(output), output)
  })
  await check('what was built works', () => runSmoke('node', [], at))
}
