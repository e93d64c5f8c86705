import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot, version } from '../lib/binding.js'

const manifest = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'))

test('require() of the module works where Node can do it, and there is one ClipError', t => {
  const script = `
    const a = require('clip-native')
    import('clip-native').then(b => {
      if (a.ClipError !== b.ClipError) throw new Error('two ClipErrors')
      if (a.version !== ${JSON.stringify(version)}) throw new Error(a.version)
      console.log('fine')
    })`
  // Run inside the package, whose own name resolves through its exports.
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', script], {
    cwd: packageRoot,
    encoding: 'utf8',
  })
  t.is(status, 0, stderr)
  t.is(stdout.trim(), 'fine')
})

test('importing loads no addon and starts no thread', t => {
  const script = `
    import('clip-native').then(() => {
      const loaded = process.report.getReport().sharedObjects.filter(f => /clip_native/.test(f))
      console.log(JSON.stringify(loaded))
    })`
  const { stdout } = spawnSync(process.execPath, ['-e', script], { cwd: packageRoot, encoding: 'utf8' })
  t.deepEqual(JSON.parse(stdout), [])
})

test('no script runs at installation', t => {
  for (const name of ['install', 'preinstall', 'postinstall', 'prepare'])
    t.is(manifest.scripts[name], undefined, name)
  t.false(manifest.gypfile)
})

test('the package holds what it needs and nothing of the tests', t => {
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  const list = JSON.parse(
    execFileSync(npm, ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: packageRoot,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }),
  )
  const files: string[] = list[0].files.map((f: { path: string }) => f.path)
  for (const needed of [
    'LICENSE',
    'THIRD_PARTY_NOTICES',
    'README.md',
    'CMakeLists.txt',
    'native/backend.h',
    'dist/lib/index.js',
    'dist/lib/index.d.ts',
    'dist/lib/cli/main.js',
    'models/icon-clip/model.safetensors',
    'models/icon-clip/README.md',
  ])
    t.true(files.includes(needed), needed)
  t.deepEqual(
    files.filter(f => /^(dist\/test|dist\/bench|test|bench|scripts)\/|binding\.gyp$/.test(f)),
    ['scripts/require-tools.mjs'],
  )
  // 8 MB without the embedded model. Both prebuilt addons take 4.5 MB of it; here there may be none.
  const model = list[0].files.find((f: { path: string }) => f.path.endsWith('model.safetensors')).size
  t.true(list[0].unpackedSize - model < 8e6, String(list[0].unpackedSize))
})

test('every file that package.json names exists', t => {
  const require = createRequire(import.meta.url)
  for (const path of [manifest.main, manifest.types, ...Object.values<string>(manifest.bin)])
    t.true(readFileSync(join(packageRoot, path)).length > 0, path)
  for (const entry of Object.values<string | { types: string; default: string }>(manifest.exports)) {
    const paths = typeof entry === 'string' ? [entry] : [entry.types, entry.default]
    for (const path of paths) t.true(readFileSync(require.resolve(join(packageRoot, path))).length > 0, path)
  }
  t.regex(readFileSync(join(packageRoot, manifest.bin['clip-native']), 'utf8'), /^#!\/usr\/bin\/env node\n/)
})

test('the types hold in a strict project, library declarations checked', t => {
  const folder = mkdtempSync(join(tmpdir(), 'clip-native-types-'))
  try {
    mkdirSync(join(folder, 'node_modules', '@types'), { recursive: true })
    symlinkSync(packageRoot, join(folder, 'node_modules', 'clip-native'), 'dir')
    symlinkSync(
      join(packageRoot, 'node_modules', '@types', 'node'),
      join(folder, 'node_modules', '@types', 'node'),
      'dir',
    )
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
    writeFileSync(join(folder, 'use.ts'), readFileSync(join(packageRoot, 'test', 'types', 'use.ts.txt')))
    const compilerOptions = {
      target: 'ES2022',
      lib: ['ES2022'],
      module: 'NodeNext',
      moduleResolution: 'NodeNext',
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: false,
      noEmit: true,
      types: ['node'],
    }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['use.ts'] }))
    const tsc = join(packageRoot, 'node_modules', 'typescript', 'bin', 'tsc')
    const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8' })
    t.is(stdout, '')
    t.is(status, 0)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
