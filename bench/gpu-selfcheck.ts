/**
 * `npm run gpu-selfcheck`: the command of that name, extended by what the repository has in addition to the
 * package. If onnxruntime-node is installed for the benchmarks (npm ci --prefix bench/peers, without
 * --ignore-scripts, because a script downloads its CUDA provider), the model is ViT-B/32 with random weights,
 * for which ONNX files can be written.
 */

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../lib/base/package.js'
import { model } from './cases.js'
import { onnxFile } from './peers/onnx-clip.js'
import { randomModel } from './random-model.js'

const peers = join(packageRoot, 'bench', 'peers', 'node_modules')
const options = process.argv.slice(2)
if (existsSync(join(peers, 'onnxruntime-node')) && !options.some(o => /^--(model|onnx)\b/.test(o))) {
  const folder = await randomModel(model('ViT-B/32'))
  for (const tower of ['vision', 'text'] as const) await onnxFile(folder, tower, 'float32')
  options.push('--model', folder, '--onnx', join(folder, 'onnx'))
}
const command = join(packageRoot, 'dist', 'lib', 'cli', 'main.js')
const { status, error } = spawnSync(process.execPath, [command, 'gpu-selfcheck', ...options], {
  stdio: 'inherit',
  env: { ...process.env, NODE_PATH: [peers, process.env.NODE_PATH].filter(Boolean).join(':') },
})
if (error) throw error
process.exitCode = status ?? 1
