// Run by npm before it packs: writes dist/lib again without what no user of the package needs: the comments
// in the JavaScript (declarations keep theirs) and the declarations that no public type uses.
import { spawnSync } from 'node:child_process'
import { readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const lib = join(root, 'dist/lib')
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')

// Removes everything first, so that only output of the current sources is packed.
rmSync(lib, { recursive: true, force: true })
for (const flags of [
  ['--removeComments', '--declaration', 'false'],
  ['--declaration', '--emitDeclarationOnly'],
]) {
  const { status } = spawnSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.package.json'), ...flags], {
    stdio: 'inherit',
  })
  if (status !== 0) process.exit(1)
}

const entries = ['index.d.ts', 'index.d.mts', 'kernels.d.ts', 'kernels.d.mts'].map(file => join(lib, file))
const program = ts.createProgram(entries, {
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  noLib: true,
  types: [],
})
const reached = new Set(program.getSourceFiles().map(({ fileName }) => resolve(fileName)))
for (const file of readdirSync(lib, { recursive: true })) {
  const path = join(lib, file)
  if (/\.d\.m?ts$/.test(file) && !reached.has(path)) rmSync(path)
}
