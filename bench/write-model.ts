/** `node dist/bench/write-model.js ViT-B/32`: prints the folder of a random-weight checkpoint, written if it is not there. */

import { model } from './cases.js'
import { randomModel } from './random-model.js'

process.stdout.write(`${await randomModel(model(process.argv[2] ?? 'ViT-B/32'))}\n`)
