/**
 * `node dist/bench/write-model.js ViT-B/32`: prints the folder of a random-weight checkpoint, which is
 * written if it does not exist.
 */

import { model } from './cases.js'
import { randomModel } from './random-model.js'

process.stdout.write(`${await randomModel(model(process.argv[2] ?? 'ViT-B/32'))}\n`)
