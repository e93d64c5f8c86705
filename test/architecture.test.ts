/** Tests the direction of imports and includes: lib -> lib/native/addon.ts -> native/binding -> queue, model -> backend.h <- backends. */

import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, relative } from 'node:path'
import test from 'ava'
import { packageRoot } from '../lib/base/package.js'
import { breachesOf, type Floors, lib as libFloors, native as nativeFloors } from './architecture/floors.js'

interface Source {
  file: string
  lines: string[]
}

function sources(folder: string, ending: RegExp): Source[] {
  return readdirSync(join(packageRoot, folder), { recursive: true, withFileTypes: true })
    .filter(
      entry =>
        entry.isFile() &&
        ending.test(entry.name) &&
        !/[\\/]node_modules[\\/]/.test(join(entry.parentPath, '/')),
    )
    .map(entry => {
      const path = join(entry.parentPath, entry.name)
      return {
        file: relative(packageRoot, path).replaceAll('\\', '/'),
        lines: readFileSync(path, 'utf8').split('\n'),
      }
    })
}

const native = sources('native', /\.(h|cc|inl)$/)
const lib = sources('lib', /\.m?ts$/)
const bench = sources('bench', /\.m?ts$/)

/** [file, what it includes] of every #include. */
const includes = native.flatMap(({ file, lines }) =>
  lines.flatMap(line => {
    const what = /^\s*#\s*include\s*[<"]([^>"]+)[>"]/.exec(line)?.[1]
    return what ? [[file, what] as const] : []
  }),
)

/** [file, what it imports] of every static or dynamic import and require. */
const imports = [...lib, ...bench].flatMap(({ file, lines }) =>
  [...lines.join('\n').matchAll(/(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)['"]([^'"]+)['"]/g)].map(
    match => [file, match[1]] as const,
  ),
)

const libFiles = lib.map(source => source.file)
/** [file, the file of lib that it imports] of every such import in lib. */
const libUses = imports.flatMap(([file, what]) => {
  const used = posix.join(posix.dirname(file), what).replace(/js$/, 'ts')
  return what.startsWith('.') && libFiles.includes(file) && libFiles.includes(used)
    ? [[file, used] as const]
    : []
})

/** Whether an #include reaches into a room or a file of the core, relative paths too. */
const reaches = (what: string, room: string): boolean => what.replace(/^(\.\.?\/)+/, '').startsWith(room)

test('the search finds what it looks for', t => {
  t.true(includes.length > 100, `${includes.length} includes`)
  t.true(imports.length > 50, `${imports.length} imports`)
  t.true(includes.some(([file, what]) => file.startsWith('native/binding/') && what === 'napi.h'))
})

test('only native/binding knows Node', t => {
  const breaches = includes.filter(
    ([file, what]) =>
      /^(napi|node_api|js_native_api|uv|v8|node)\b.*\.h$/.test(what) && !file.startsWith('native/binding/'),
  )
  t.deepEqual(breaches, [])
})

test('the rooms of native form floors', t => {
  const files = native.map(source => source.file)
  // An #include is looked for beside the file first, then in native/. What is in neither is the system's or cuda/'s.
  const uses = includes.flatMap(([file, what]) => {
    const found = [posix.join(posix.dirname(file), what), `native/${what}`].find(path => files.includes(path))
    return found ? [[file, found] as const] : []
  })
  t.true(uses.length > 300, `${uses.length} uses`)
  t.deepEqual(breachesOf('native', nativeFloors, files, uses), [])
})

test('the rooms of lib form floors', t => {
  t.true(libUses.length > 500, `${libUses.length} uses`)
  t.deepEqual(breachesOf('lib', libFloors, libFiles, libUses), [])
})

test('the imports of lib have no cycles', t => {
  const uses = new Map<string, string[]>()
  for (const [file, used] of libUses) uses.set(file, [...(uses.get(file) ?? []), used])
  const open: string[] = []
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (file: string): void => {
    if (open.includes(file)) cycles.push([...open.slice(open.indexOf(file)), file].join(' -> '))
    if (open.includes(file) || done.has(file)) return
    open.push(file)
    for (const used of uses.get(file) ?? []) visit(used)
    open.pop()
    done.add(file)
  }
  for (const file of uses.keys()) visit(file)
  t.deepEqual(cycles, [])
})

test('the floor check reports a use that goes up, sideways or to an unlisted room, and an empty room', t => {
  const floors: Floors = [{ ground: '' }, { left: '', right: '' }, { top: '' }]
  const files = ['x/ground.h', 'x/left/a.h', 'x/left/b.h', 'x/right/a.h', 'x/attic/a.h']
  t.deepEqual(
    breachesOf('x', floors, files, [
      ['x/left/a.h', 'x/ground.h'],
      ['x/left/a.h', 'x/left/b.h'],
      ['x/left/b.h', 'x/left/a.h'],
      ['x/left/a.h', 'x/right/a.h'],
      ['x/ground.h', 'x/left/b.h'],
      ['x/right/a.h', 'x/attic/a.h'],
    ]),
    [
      'x: attic is on no floor',
      'x: top is empty',
      'x/left/a.h uses x/right/a.h',
      'x/ground.h uses x/left/b.h',
      'x/right/a.h uses x/attic/a.h',
    ],
  )
})

test('the model knows the Backend table, not the backends', t => {
  const allowed = [
    'model/',
    'backend.h',
    'error.h',
    'half.h',
    'resample.h',
    'top_k.h',
    'threads/',
    'profile.h',
  ]
  const breaches = native
    .filter(source => source.file.startsWith('native/model/'))
    .flatMap(({ file, lines }) =>
      lines.flatMap(line => {
        const what = /^\s*#\s*include\s*"([^"]+)"/.exec(line)?.[1]
        return what && !allowed.some(room => reaches(what, room)) ? [[file, what]] : []
      }),
    )
  t.deepEqual(breaches, [])
})

test('vector intrinsics stay in native/cpu/*.cc', t => {
  // A header with intrinsics compiled wide would replace portable copies of its inline functions. target.h brings them
  // into these files.
  const breaches = includes.filter(
    ([file, what]) =>
      (/^(\w*mmintrin|x86intrin|arm_\w+)\.h$/.test(what) && file !== 'native/cpu/target.h') ||
      reaches(what, 'cpu/target.h'),
  )
  t.deepEqual(
    breaches.filter(([file]) => !/^native\/cpu\/[^/]+\.cc$/.test(file)),
    [],
  )
  t.true(breaches.length > 5, `${breaches.length} files with intrinsics`)
})

test('instruction sets are chosen by target regions, not by flags of files', t => {
  const cmake = readFileSync(join(packageRoot, 'CMakeLists.txt'), 'utf8')
  t.notRegex(cmake, /-m(avx|fma|arch|cpu|tune)|\/arch:/)
})

test('lib reaches native code only through lib/native/addon.ts', t => {
  const breaches = imports.filter(([file, what]) => {
    const target = what.startsWith('.') ? posix.join(posix.dirname(file), what) : what
    return file !== 'lib/native/addon.ts' && /node-gyp-build|\.node$|^(native|build|prebuilds)\//.test(target)
  })
  t.deepEqual(breaches, [])
  const openers = lib.filter(
    ({ file, lines }) =>
      file !== 'lib/native/addon.ts' && /process\.dlopen|node-gyp-build/.test(lines.join('\n')),
  )
  t.deepEqual(
    openers.map(source => source.file),
    [],
  )
})

test('lib imports nothing of test or bench', t => {
  t.deepEqual(
    imports.filter(([file, what]) => file.startsWith('lib/') && /(^|\/)(test|bench|scripts)\//.test(what)),
    [],
  )
})

test('scripts/test-arm64.mjs runs every test file, or names it among those it leaves out', t => {
  const script = join(packageRoot, 'scripts/test-arm64.mjs')
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, '--list'], { encoding: 'utf8' })
  t.is(status, 0, stdout + stderr)
  t.regex(stdout, /^kernels: /m)
})
