// Tests what a user gets from `npm install`: packs, installs the tarball in empty folders and runs it there.
// Needs prebuilds/ (node scripts/prebuild.mjs) and the npm registry. Ends with `N passed, N failed`. All
// files are in the folder clip-native-package of the temporary folder.
//
//   node scripts/test-package.mjs [NAME...]     default: all of these
//
//   pack      sizes; publint and are-the-types-wrong on the tarball
//   bare      an empty folder and a PATH with only node and npm: installs, runs README's example; with and
//             without sharp
//   types     a strict project, library declarations checked, with and without sharp
//   managers  npm, pnpm, Yarn 1 and 4 install, with their scripts on: no compiler and no build tool is called
//   hosts     Node 20, 22, 24, 26, Bun and Deno (from npm) run test/package/smoke.mjs; arm64 Node under qemu-user;
//             Node 22, 24 and 26 run test/transferred.test.ts of this folder
//   bundlers  esbuild, webpack and Vite's SSR build with the package as external; the error if it was inlined
//   runners   jest 29 and 30, vitest's pools, ts-node, tsx, and the files that @vercel/nft traces
//   next      Next.js with webpack and Turbopack, output: 'standalone'
//   build     without prebuilds: the error message, and that `npx clip-native build` solves the problem
//             (minutes; no network)
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { testBuild } from './package/build.mjs'
import { testBundlers } from './package/bundlers.mjs'
import { testHosts } from './package/hosts.mjs'
import { testBare, testManagers, testTypes } from './package/installs.mjs'
import { testNext, testRunners } from './package/runners.mjs'
import { checks, folder, root, work } from './package/support.mjs'
import { testPack } from './package/tarball.mjs'

const steps = {
  pack: testPack,
  bare: testBare,
  types: testTypes,
  managers: testManagers,
  hosts: testHosts,
  bundlers: testBundlers,
  runners: testRunners,
  next: testNext,
  build: testBuild,
}
const given = process.argv.slice(2)
for (const name of given)
  if (!(name in steps)) {
    console.error(`Expected any of ${Object.keys(steps).join(', ')}, got ${name}.`)
    process.exit(2)
  }
// One platform is enough to try a step: CLIP_PACKAGE_ARCHS=x64.
for (const arch of (process.env.CLIP_PACKAGE_ARCHS ?? 'x64,arm64').split(','))
  if (!existsSync(join(root, 'prebuilds', `linux-${arch}`))) {
    console.error(`There is no prebuilds/linux-${arch}: run node scripts/prebuild.mjs first.`)
    process.exit(2)
  }

mkdirSync(work, { recursive: true })
for (const name of readdirSync(work)) if (name.endsWith('.tgz')) rmSync(join(work, name))
const packed = spawnSync('npm', ['pack', '--json', '--pack-destination', work], {
  cwd: root,
  encoding: 'utf8',
})
if (packed.status !== 0) {
  console.error(packed.stdout, packed.stderr)
  process.exit(1)
}
const [manifest] = JSON.parse(packed.stdout)
const tarball = join(work, manifest.filename)
console.log(`packed ${relative(root, tarball)}`)

for (const [name, step] of Object.entries(steps)) {
  if (given.length > 0 && !given.includes(name)) continue
  const started = Date.now()
  console.log(`== ${name}`)
  rmSync(folder(name), { recursive: true, force: true })
  mkdirSync(folder(name), { recursive: true })
  await step({ tarball, manifest, folder: folder(name) })
  console.log(`== ${name}: ${Math.round((Date.now() - started) / 1000)} s`)
}
console.log(`${checks.passed} passed, ${checks.failed} failed`)
process.exit(checks.failed > 0 || checks.passed === 0 ? 1 : 0)
