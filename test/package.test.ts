import { execFileSync, spawnSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, posix } from 'node:path'
import test from 'ava'
import { packageRoot, version } from '../lib/base/package.js'

const manifest = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'))

test('require() and import give the same objects under the same names, without require() of ES modules', t => {
  const script = `
    const same = async (name, least) => {
      const required = require(name)
      const imported = await import(name)
      const names = Object.keys(imported).filter(key => !['default', 'module.exports', '__esModule'].includes(key)).sort()
      if (names.join() !== Object.keys(required).sort().join()) throw new Error(name + ': ' + names)
      if (names.length < least) throw new Error(name + ' has too little: ' + names)
      for (const key of names) if (required[key] !== imported[key]) throw new Error(name + ' has two of ' + key)
    }
    same('clip-native', 10).then(() => same('clip-native/kernels', 9)).then(() => console.log(require('clip-native').version))`
  // Run inside the package, whose own name resolves through its exports.
  const flags = process.allowedNodeEnvironmentFlags.has('--no-experimental-require-module')
    ? ['--no-experimental-require-module']
    : []
  const { status, stdout, stderr } = spawnSync(process.execPath, [...flags, '-e', script], {
    cwd: packageRoot,
    encoding: 'utf8',
  })
  t.is(status, 0, stderr)
  t.is(stdout.trim(), version)
})

test('declarations use only types that TypeScript 5.0 supports', t => {
  const declarations = readdirSync(join(packageRoot, 'dist/lib'), {
    recursive: true,
    encoding: 'utf8',
  }).filter(file => /\.d\.m?ts$/.test(file))
  t.true(declarations.length > 50)
  // Typed arrays have a type parameter since TypeScript 5.7 only; inferred types name it.
  const generic = /\b(?:(?:Uint|Int|Float|BigInt|BigUint)\d+(?:Clamped)?Array|Buffer|DataView)</
  t.deepEqual(
    declarations.filter(file => generic.test(readFileSync(join(packageRoot, 'dist/lib', file), 'utf8'))),
    [],
  )
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

test('installing the package runs no script', t => {
  for (const name of ['install', 'preinstall', 'postinstall', 'prepare'])
    t.is(manifest.scripts[name], undefined, name)
  t.false(manifest.gypfile)
})

/** What npm would pack. Here dist/lib has more than that: scripts/prepack.mjs has not run. */
const packed: { unpackedSize: number; files: { path: string; size: number }[] } = JSON.parse(
  execFileSync(
    process.platform === 'win32' ? 'npm.cmd' : 'npm',
    ['pack', '--dry-run', '--json', '--ignore-scripts'],
    { cwd: packageRoot, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  ),
)[0]

test('the package contains everything that it needs, and no tests', t => {
  const files = packed.files.map(f => f.path)
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
    files.filter(f =>
      /(^|\/)(test|scripts|node_modules)\/|^(dist\/)?bench\/(?!results)|binding\.gyp$/.test(f),
    ),
    ['scripts/require-tools.mjs'],
  )
  // 8 MB without the embedded model and its vocabulary. Both prebuilt addons take 4 MB of it; here there may be none.
  const model = packed.files
    .filter(f => /^models\/icon-clip\/(model\.safetensors|vocab\.json|merges\.txt)$/.test(f.path))
    .reduce((sum, f) => sum + f.size, 0)
  // A build for development has comments and declarations in dist/lib that npm run prepack leaves out: 0.32 MB.
  const prepacked = !readFileSync(join(packageRoot, 'dist/lib/index.js'), 'utf8').includes('/**')
  t.true(packed.unpackedSize - model < (prepacked ? 8e6 : 8.35e6), `${packed.unpackedSize} - ${model}`)
})

test('pages of the package link only to files of the package', t => {
  const files = new Set(packed.files.map(f => f.path))
  const pages = [...files].filter(file => file.endsWith('.md'))
  t.true(pages.includes('README.md') && pages.includes('docs/README.md') && pages.length > 15)
  const dead = pages.flatMap(page => {
    const text = readFileSync(join(packageRoot, page), 'utf8').replaceAll(/^```.*?^```/gms, '')
    return [...text.matchAll(/\]\(([^)\s]+)\)|\b(?:src|href)="([^"]+)"/g)]
      .map(([, link, source]) => (link ?? source)!)
      .filter(link => !/^(https?:|mailto:|#)/.test(link))
      .filter(link => !files.has(posix.join(posix.dirname(page), link.replace(/#.*/, ''))))
      .map(link => `${page}: ${link}`)
  })
  t.deepEqual(dead, [])
})

test('no public declaration needs the types of sharp, which users may do without', t => {
  const found: string[] = []
  const seen = new Set<string>()
  const visit = (file: string, way: string[]) => {
    if (seen.has(file)) return
    seen.add(file)
    const text = readFileSync(join(packageRoot, file), 'utf8')
    for (const [, name] of text.matchAll(/(?:from |import\()['"]([^'"]+)['"]/g)) {
      if (name === 'sharp') found.push([...way, file].join(' -> '))
      if (name!.startsWith('.'))
        visit(posix.join(posix.dirname(file), name!.replace(/\.(m?)js$/, '.d.$1ts')), [...way, file])
    }
  }
  for (const entry of ['dist/lib/index.d.ts', 'dist/lib/kernels.d.ts']) visit(entry, [])
  t.true(seen.size > 20)
  t.deepEqual(found, [])
})

test('every file that package.json names exists', t => {
  const require = createRequire(import.meta.url)
  for (const path of [manifest.main, manifest.types, ...Object.values<string>(manifest.bin)])
    t.true(readFileSync(join(packageRoot, path)).length > 0, path)
  type Entry = string | { [condition: string]: Entry }
  const paths = (entry: Entry): string[] =>
    typeof entry === 'string' ? [entry] : Object.values(entry).flatMap(paths)
  const all = paths(manifest.exports)
  t.is(all.length, 9)
  for (const path of [...all, ...manifest.typesVersions['*'].kernels])
    t.true(readFileSync(require.resolve(join(packageRoot, path))).length > 0, path)
  t.regex(readFileSync(join(packageRoot, manifest.bin['clip-native']), 'utf8'), /^#!\/usr\/bin\/env node\n/)
})

for (const lib of [['ES2022'], ['ES2022', 'DOM'], ['ES2022', 'DOM', 'DOM.AsyncIterable']])
  test(`the types hold in a strict project with ${lib.join(' and ')}, library declarations checked`, t => {
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
        lib,
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
