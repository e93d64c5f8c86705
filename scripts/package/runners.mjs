// Test runners and tools that load the package in their own ways: jest (its own require() and realm),
// vitest's pools, ts-node, tsx, file tracers and Next.js.
import { spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { check, expect, npmInstall, project, run, writeJson } from './support.mjs'

/**
 * The code that each of them runs: it passes in values of its own realm and gets results and errors of ours.
 */
const body = `
test('values of this realm are taken, and errors are of one class', async () => {
  const clip = await load()
  const pixels = { data: new Uint8Array(12), width: 2, height: 2, channels: 3 }
  const embeddings = await clip.encodeImage(pixels)
  const prepared = await clip.preprocess(pixels)
  expect(Array.from((await clip.encodeImage(prepared)).data)).toEqual(Array.from(embeddings.data))
  const own = new Embeddings(new Float32Array(192).fill(0.1), [1, 192])
  expect((await clip.similarity(own, ['a', 'b'])).data.length).toBe(2)
  const classifier = await clip.classifier(['dog', 'cat'])
  expect((await classifier.classify(own)).length).toBe(1)
  const bytes = fs.readFileSync(file)
  for (const image of [bytes, new Uint8Array(bytes), new Uint8Array(bytes).buffer, new URL('file://' + file)])
    expect((await clip.encodeImage(image)).shape).toEqual([1, 192])
  const x = new Float32Array([1, 2])
  const product = await linear({ x, weight: new Float32Array([3, 4]), rows: 1, inFeatures: 2, outFeatures: 1 })
  expect(product[0]).toBe(11)
  const wrong = await clip.encodeImage(3).catch(error => error)
  expect(wrong).toBeInstanceOf(TypeError)
  expect(isClipError(wrong)).toBe(true)
  const missing = await clip.encodeImage('/nowhere.png').catch(error => error)
  expect(missing).toBeInstanceOf(ClipError)
  await expect(clip.encodeText('a', { signal: AbortSignal.abort() })).rejects.toThrow()
  const store = await clip.openStore(fs.mkdtempSync(os.tmpdir() + '/clip-store-') + '/s', { create: true })
  await store.add([{ id: 'x', image: pixels }])
  expect((await store.search('dog'))[0].id).toBe('x')
  await store.close()
  await clip.dispose()
}, 120000)
`
const names = 'ClipError, Embeddings, isClipError, load'

export async function testRunners({ tarball, folder }) {
  const at = project(join(folder, 'project'), { type: 'commonjs' })
  const tools = [
    'jest@30.5.2',
    'jest29@npm:jest@29.7.0',
    'vitest@4.1.12',
    'jsdom@26.1.0',
    'tsx@4.23.15',
    'ts-node@10.9.2',
    '@vercel/nft@1.11.5',
  ]
  const installed = await check('npm installs it and the runners', async () => {
    await npmInstall(at, [tarball, ...tools, 'typescript@5.9.3', '@types/node@20.19.9'])
  })
  if (!installed) return
  const module = name => join(at, 'node_modules', name)
  const file = JSON.stringify(join(module('clip-native'), 'models/icon-clip/examples/dog.png'))
  const required = `const fs = require('node:fs'), os = require('node:os'), file = ${file}
const { ${names} } = require('clip-native'), { linear } = require('clip-native/kernels')\n`
  const imported = `import fs from 'node:fs'\nimport os from 'node:os'
import { ${names} } from 'clip-native'\nimport { linear } from 'clip-native/kernels'\nconst file = ${file}\n`
  writeFileSync(join(at, 'required.test.js'), required + body)
  writeFileSync(join(at, 'imported.test.mjs'), imported + body)
  mkdirSync(join(at, 'vitest'))
  writeFileSync(join(at, 'vitest/it.test.mjs'), `import { expect, test } from 'vitest'\n${imported}${body}`)
  const node = (args, more = {}) => run(process.execPath, args, { cwd: at, ...more })
  for (const jest of ['jest29', 'jest']) {
    const bin = join(module(jest), 'bin/jest.js')
    await check(`${jest}, CommonJS`, () => node([bin, 'required.test.js']).then(() => ''))
    const flags = ['--testMatch', '**/imported.test.mjs', '--transform', '{}']
    await check(`${jest}, ES modules`, () =>
      node(['--experimental-vm-modules', bin, ...flags]).then(() => ''),
    )
  }
  for (const flags of [
    '--pool threads',
    '--pool forks',
    '--pool vmThreads',
    '--pool vmForks',
    '--environment jsdom',
  ])
    await check(`vitest ${flags}`, async () => {
      await node([join(module('vitest'), 'vitest.mjs'), 'run', '--dir', 'vitest', ...flags.split(' ')])
    })
  const source = `import { load, version } from 'clip-native'
async function main(): Promise<void> {
  const clip = await load()
  const { shape } = await clip.encodeText(['a dog', 'a cat'])
  await clip.dispose()
  console.log(version, shape.join('x'))
}
void main()
`
  for (const file of ['main.ts', 'main.mts']) writeFileSync(join(at, file), source)
  writeJson(join(at, 'tsconfig.json'), {
    compilerOptions: { module: 'node16', target: 'es2022', strict: true },
  })
  const works = output => expect(/^[\d.]+ 2x192$/m.test(output), output)
  await check('ts-node', async () => works(await node([join(module('ts-node'), 'dist/bin.js'), 'main.ts'])))
  for (const file of ['main.ts', 'main.mts'])
    await check(`tsx ${file}`, async () => works(await node([join(module('tsx'), 'dist/cli.mjs'), file])))
  await check('@vercel/nft: what it traces runs alone', async () => {
    writeFileSync(join(at, 'traced.mjs'), source.replace(': Promise<void>', ''))
    const script = `import('@vercel/nft').then(m => m.nodeFileTrace(['traced.mjs'])).then(r => console.log(JSON.stringify([...r.fileList])))`
    const files = JSON.parse((await node(['-e', script])).trim())
    // The files that only a GPU needs are opened later, but must be present.
    for (const name of ['images.json', 'machine_code.br', 'ptx.br'])
      expect(files.includes(`node_modules/clip-native/cuda/images/${name}`), `${name} is not traced`)
    const alone = join(folder, 'traced')
    for (const file of files)
      cpSync(join(at, file), join(alone, file), { recursive: true, dereference: true })
    works(await run(process.execPath, ['traced.mjs'], { cwd: alone }))
  })
}

export async function testNext({ tarball, folder }) {
  const at = project(join(folder, 'project'), { type: undefined })
  const installed = await check('npm installs it and Next.js', async () => {
    await npmInstall(at, [tarball, 'next@16.4.6', 'react@19.3.1', 'react-dom@19.3.1'])
  })
  if (!installed) return
  const route = join(at, 'app/api/clip')
  mkdirSync(route, { recursive: true })
  writeFileSync(
    join(at, 'app/layout.js'),
    'export default function Layout({ children }) { return <html><body>{children}</body></html> }\n',
  )
  writeFileSync(join(at, 'app/page.js'), 'export default function Page() { return <p>clip</p> }\n')
  writeFileSync(
    join(route, 'route.js'),
    `import { load } from 'clip-native'
export const dynamic = 'force-dynamic'
export async function GET() {
  const clip = await load()
  const { shape } = await clip.encodeText(['a', 'b'])
  await clip.dispose()
  return Response.json({ shape })
}
`,
  )
  const config = external =>
    writeFileSync(
      join(at, 'next.config.mjs'),
      `export default { output: 'standalone', outputFileTracingRoot: import.meta.dirname${external ? ", serverExternalPackages: ['clip-native']" : ''} }\n`,
    )
  const env = { NEXT_TELEMETRY_DISABLED: '1' }
  for (const [i, bundler] of ['--webpack', '--turbopack'].entries())
    await check(`Next.js ${bundler}, standalone: the copy answers by itself`, async () => {
      config(true)
      await run(process.execPath, [join(at, 'node_modules/next/dist/bin/next'), 'build', bundler], {
        cwd: at,
        env,
      })
      const alone = join(folder, `standalone${i}`)
      cpSync(join(at, '.next/standalone'), alone, { recursive: true, verbatimSymlinks: true })
      expect(existsSync(join(alone, 'server.js')), 'there is no server.js')
      const answer = await served(alone, 4300 + i)
      expect(answer === '{"shape":[2,192]}', answer)
    })
}

/** The response of the server in a folder, once it responds. */
async function served(folder, port) {
  const server = spawn(process.execPath, ['server.js'], {
    cwd: folder,
    env: { ...process.env, PORT: String(port), HOSTNAME: '127.0.0.1' },
    stdio: 'ignore',
  })
  try {
    for (let i = 0; i < 60; i++) {
      await new Promise(resolve => setTimeout(resolve, 1000))
      const answer = await fetch(`http://127.0.0.1:${port}/api/clip`).catch(() => undefined)
      if (answer) return await answer.text()
    }
    return 'nothing'
  } finally {
    server.kill()
  }
}
