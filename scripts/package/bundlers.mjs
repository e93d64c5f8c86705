// A program that uses the package is bundled with the package as external (it loads its addon and its model
// from its own folder, so it can't be inlined), and run. If it was inlined anyway, the error must say what to
// do.
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { check, expect, npmInstall, project, run } from './support.mjs'

const program = `import { load, version } from 'clip-native'
const clip = await load()
const { shape } = await clip.encodeText(['a dog', 'a cat'])
await clip.dispose()
console.log(version, shape.join('x'))
`

/** Without sharp, whose own addon no bundler can include. */
const inlined = `import { load } from 'clip-native'
load().then(() => console.log('loaded'), ({ code, message }) => console.log(code, message))
`

export async function testBundlers({ tarball, folder }) {
  const at = project(join(folder, 'project'))
  const tools = ['esbuild@0.28.2', 'webpack@5.112.2', 'webpack-cli@6.0.1', 'vite@8.4.0']
  const installed = await check('npm installs it and the bundlers', () =>
    npmInstall(at, [tarball, ...tools]).then(() => ''),
  )
  if (!installed) return
  writeFileSync(join(at, 'main.js'), program)
  const bin = name => join(at, 'node_modules/.bin', name)
  const works = async file => {
    const output = await run(process.execPath, [file], { cwd: at })
    expect(/^[\d.]+ 2x192$/.test(output.trim()), output)
    return output.trim()
  }
  await check('esbuild', async () => {
    const flags = [
      '--bundle',
      '--platform=node',
      '--format=esm',
      '--external:clip-native',
      '--outfile=esbuild.mjs',
    ]
    await run(bin('esbuild'), ['main.js', ...flags], { cwd: at })
    return works('esbuild.mjs')
  })
  await check('webpack', async () => {
    const config = `export default {
  mode: 'production', target: 'node20', entry: './main.js',
  experiments: { outputModule: true },
  externals: { 'clip-native': 'module clip-native' },
  output: { path: import.meta.dirname, filename: 'webpack.mjs', module: true },
}
`
    writeFileSync(join(at, 'webpack.config.mjs'), config)
    await run(bin('webpack'), [], { cwd: at })
    return works('webpack.mjs')
  })
  await check("Vite's SSR build", async () => {
    const config = `export default {
  logLevel: 'warn',
  ssr: { external: ['clip-native'] },
  build: { ssr: 'main.js', outDir: 'vite', target: 'node20' },
}
`
    writeFileSync(join(at, 'vite.config.mjs'), config)
    await run(bin('vite'), ['build'], { cwd: at })
    return works('vite/main.js')
  })
  writeFileSync(join(at, 'inlined.js'), inlined)
  mkdirSync(join(folder, 'elsewhere'))
  /**
   * Once next to node_modules, where whatever was not bundled would be found, and once where there is none.
   */
  const refuses = async file => {
    const moved = join(folder, 'elsewhere', file)
    cpSync(join(at, file), moved)
    for (const bundle of [join(at, file), moved]) {
      const output = await run(process.execPath, [bundle], { cwd: at })
      expect(/^ERR_CLIP_BACKEND clip-native was bundled.*mark it as external/.test(output), output)
    }
  }
  await check('inlined by esbuild, it says to mark it as external', async () => {
    const flags = ['--bundle', '--platform=node', '--external:sharp', '--outfile=inlined-esbuild.cjs']
    await run(bin('esbuild'), ['inlined.js', ...flags], { cwd: at })
    await refuses('inlined-esbuild.cjs')
  })
  await check('inlined by webpack, it says to mark it as external', async () => {
    const config = `export default {
  mode: 'production', target: 'node20', entry: './inlined.js',
  externals: { sharp: 'commonjs sharp' },
  output: { path: import.meta.dirname, filename: 'inlined-webpack.cjs' },
}
`
    writeFileSync(join(at, 'inlined.config.mjs'), config)
    await run(bin('webpack'), ['--config', 'inlined.config.mjs'], { cwd: at })
    await refuses('inlined-webpack.cjs')
  })
  await check('inlined by Vite, it says to mark it as external', async () => {
    const config = `export default {
  logLevel: 'warn',
  ssr: { noExternal: ['clip-native'], external: ['sharp'] },
  build: {
    ssr: 'inlined.js', outDir: 'vite-inlined', target: 'node20',
    rollupOptions: { output: { entryFileNames: 'inlined-vite.mjs' } },
  },
}
`
    writeFileSync(join(at, 'inlined-vite.config.mjs'), config)
    await run(bin('vite'), ['build', '--config', 'inlined-vite.config.mjs'], { cwd: at })
    cpSync(join(at, 'vite-inlined/inlined-vite.mjs'), join(at, 'inlined-vite.mjs'))
    await refuses('inlined-vite.mjs')
  })
  await check("Vite's `external` wins over `noExternal: true`", async () => {
    const config = `export default {
  logLevel: 'warn',
  ssr: { noExternal: true, external: ['clip-native'] },
  build: { ssr: 'main.js', outDir: 'vite-all', target: 'node20' },
}
`
    writeFileSync(join(at, 'all-vite.config.mjs'), config)
    await run(bin('vite'), ['build', '--config', 'all-vite.config.mjs'], { cwd: at })
    return works('vite-all/main.js')
  })
}
