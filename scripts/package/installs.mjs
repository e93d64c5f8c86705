// Installs the tarball into empty folders with every package manager, and checks its types.
import { cpSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import {
  check,
  expect,
  megabytes,
  npmInstall,
  pathOf,
  project,
  readJson,
  root,
  run,
  size,
  tool,
  watchBuilders,
  writeJson,
} from './support.mjs'

/** The largest allowed size of a production install in bytes. */
const MOST = 45e6
const npmCli = realpathSync(join(dirname(process.execPath), 'npm'))
const smoke = ['smoke.mjs', 'encode-child.mjs']

/** Writes README's first example and the image that it uses into a project that has the package. */
function writeExample(at) {
  const [, source] = /```js\n([\s\S]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8'))
  writeFileSync(join(at, 'example.mjs'), source)
  const examples = 'models/icon-clip/examples'
  cpSync(join(at, 'node_modules/clip-native', examples), join(at, examples), { recursive: true })
}

export async function testBare({ tarball, folder }) {
  const path = pathOf(join(folder, 'bin'), { node: process.execPath, npm: npmCli })
  const at = project(join(folder, 'empty'))
  const installed = await check('npm installs it where PATH has node and npm alone', async () => {
    await npmInstall(at, [tarball], { path })
  })
  if (!installed) return
  await check("README's example runs there", async () => {
    writeExample(at)
    const output = await run('node', ['example.mjs'], { cwd: at, path })
    expect(/label: 'dog'/.test(output), output)
    return output.trim().replace(/\s+/g, ' ')
  })
  await check('require() of it works', async () => {
    const script = `const { load, version } = require('clip-native'); load().then(c => c.dispose()).then(() => console.log(version))`
    return (await run('node', ['-e', script], { cwd: at, path })).trim()
  })
  await check('its command runs', () =>
    run('node', ['node_modules/.bin/clip-native', 'doctor'], { cwd: at, path }).then(() => ''),
  )
  await check('the smoke tests hold', () => runSmoke('node', [], at, { path }))
  for (const backend of ['avx2', 'reference'])
    await check(`the smoke tests hold with CLIP_NATIVE_BACKEND=${backend}`, () =>
      runSmoke('node', [], at, {
        path,
        env: { CLIP_NATIVE_BACKEND: backend },
        expected: new RegExp(` on ${backend}`),
      }),
    )
  await check('node --test runs them', async () => {
    await run('node', ['--test', 'smoke.mjs'], { cwd: at, path })
  })
  await check('node_modules is small', () => {
    const bytes = size(join(at, 'node_modules'))
    expect(bytes < MOST, `${bytes} bytes`)
    return `${bytes} bytes (${megabytes(bytes)}) with sharp`
  })
  const without = project(join(folder, 'without-sharp'))
  await check('without sharp: installs, raw pixels work, files are refused with the way out', async () => {
    await npmInstall(without, [tarball], { path, flags: ['--omit=optional'] })
    const bytes = size(join(without, 'node_modules'))
    const said = await runSmoke('node', [], without, { path, expected: /sharp absent/ })
    return `${said}; ${bytes} bytes (${megabytes(bytes)})`
  })
}

/** Runs the smoke tests in a project; returns their last line. */
export async function runSmoke(program, args, at, { expected = /passed/, ...options } = {}) {
  for (const name of smoke) cpSync(join(root, 'test/package', name), join(at, name))
  const output = await run(program, [...args, 'smoke.mjs'], { cwd: at, ...options })
  expect(expected.test(output), output)
  const [first, ...lines] = output.trim().split('\n')
  expect(/^[1-9]\d* passed, 0 failed$/.test(lines.at(-1)), output)
  return `${lines.at(-1)}; ${first}`
}

const compilers = ['5.0.4', '5.4.5', '5.9.3']
/** The newest compiler, with the types of the newest Node: it reports an error in the types of Node 20 themselves. */
const newest = { compilers: ['7.0.2'], types: '26.6.7' }
/** [module, moduleResolution, the project's type] */
const resolutions = [
  ['CommonJS', 'Node10', 'commonjs'],
  ['Node16', 'Node16', 'commonjs'],
  ['Node16', 'Node16', 'module'],
  ['NodeNext', 'NodeNext', 'commonjs'],
  ['NodeNext', 'NodeNext', 'module'],
  ['ESNext', 'Bundler', 'module'],
]

export async function testTypes({ tarball, folder }) {
  const { devDependencies: of } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const oldest = { compilers, types: of['@types/node'] }
  for (const [name, flags, { compilers, types }] of [
    ['with sharp', [], oldest],
    ['without sharp', ['--omit=optional'], oldest],
    ["with the newest Node's types", [], newest],
  ]) {
    const at = project(join(folder, name.replaceAll(/\W+/g, '-')))
    const versions = compilers.map(version => `ts${version}@npm:typescript@${version}`)
    if (
      !(await check(`npm installs it, ${name}`, () =>
        npmInstall(at, [tarball, `@types/node@${types}`, ...versions], { flags }).then(() => ''),
      ))
    )
      continue
    cpSync(join(root, 'test/types/use.ts.txt'), join(at, 'use.ts'))
    writeFileSync(
      join(at, 'kernels.ts'),
      "import { linear } from 'clip-native/kernels'\nexport const f: typeof linear = linear\n",
    )
    for (const version of compilers)
      for (const [module, moduleResolution, type] of resolutions) {
        // Removed in TypeScript 7.
        if (moduleResolution === 'Node10' && version.startsWith('7')) continue
        await check(`TypeScript ${version}, ${moduleResolution}, ${type}, ${name}`, async () => {
          writeJson(join(at, 'package.json'), { ...readJson(join(at, 'package.json')), type })
          const compilerOptions = {
            target: 'ES2022',
            lib: ['ES2022'],
            module,
            moduleResolution,
            strict: true,
            exactOptionalPropertyTypes: true,
            skipLibCheck: false,
            noEmit: true,
            types: ['node'],
          }
          writeJson(join(at, 'tsconfig.json'), { compilerOptions, files: ['use.ts', 'kernels.ts'] })
          await run(process.execPath, [join(at, 'node_modules', `ts${version}`, 'bin/tsc'), '-p', at], {
            cwd: at,
          })
        })
      }
  }
}

export async function testManagers({ tarball, folder }) {
  const managers = {
    npm: { program: async () => ['npm', 'install', '--foreground-scripts', '--no-audit', '--no-fund'] },
    pnpm: {
      program: async () => [
        process.execPath,
        join(await tool(['pnpm@10.34.8']), 'node_modules/pnpm/bin/pnpm.cjs'),
        'install',
        '--dangerously-allow-all-builds',
      ],
    },
    'Yarn 1': {
      program: async () => [
        process.execPath,
        join(await tool(['yarn@1.22.22']), 'node_modules/yarn/bin/yarn.js'),
        'install',
        '--no-lockfile',
      ],
    },
    'Yarn 4': {
      program: async () => [
        process.execPath,
        join(await tool(['@yarnpkg/cli-dist@4.18.1']), 'node_modules/@yarnpkg/cli-dist/bin/yarn.js'),
        'install',
        '--no-immutable',
      ],
      files: {
        '.yarnrc.yml':
          'nodeLinker: node-modules\nenableScripts: true\nenableTelemetry: false\nenableGlobalCache: false\n',
        'yarn.lock': '',
      },
    },
    "Yarn 4 with Plug'n'Play": {
      program: async () => [
        process.execPath,
        join(await tool(['@yarnpkg/cli-dist@4.18.1']), 'node_modules/@yarnpkg/cli-dist/bin/yarn.js'),
        'install',
        '--no-immutable',
      ],
      files: {
        '.yarnrc.yml':
          'nodeLinker: pnp\nenableScripts: true\nenableTelemetry: false\nenableGlobalCache: false\n',
        'yarn.lock': '',
      },
      flags: ['--require', './.pnp.cjs', '--experimental-loader', './.pnp.loader.mjs'],
    },
  }
  for (const [name, { program, files = {}, flags = [] }] of Object.entries(managers)) {
    const at = project(join(folder, name.replaceAll(/\W+/g, '-')), {
      dependencies: { 'clip-native': `file:${tarball}` },
    })
    for (const [file, text] of Object.entries(files)) writeFileSync(join(at, file), text)
    const { path, calls } = watchBuilders(join(folder, `${name.replaceAll(/\W+/g, '-')}-bin`))
    const watched = `${path}:${process.env.PATH}`
    await check(`${name} installs it and starts no build`, async () => {
      const [command, ...args] = await program()
      mkdirSync(join(folder, 'home'), { recursive: true })
      await run(command, args, { cwd: at, path: watched, env: { HOME: join(folder, 'home'), CI: '1' } })
      expect(calls() === '', `called: ${calls()}`)
    })
    await check(`what ${name} installed works`, () => runSmoke('node', flags, at, { path: watched, env: {} }))
  }
}
