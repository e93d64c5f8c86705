/** A model in several weight files: model.safetensors.index.json and pytorch_model.bin.index.json. */

import { basename, join } from 'node:path'
import { INDEX_LIMITS } from '../base/json.js'
import { badCheckpoint, type Pace, quote } from './errors.js'
import { kindOfJson, readJsonFile } from './fields.js'
import type { SourceFile } from './source-file.js'
import type { TensorTable } from './tensors.js'
import { readWeights } from './weights.js'

const MOST_SHARDS = 1000
/** Maximum length of a file name in UTF-16 units: enough for file systems, and short enough for messages. */
const LONGEST_NAME = 255

/** Parses {weight_map: {tensor: file}}; the files must be in the same folder. */
export async function readShards(
  folder: string,
  indexName: string,
  table: TensorTable,
  pace: Pace,
  opened: SourceFile[],
): Promise<void> {
  const path = join(folder, indexName)
  const map = (await readJsonFile(path, pace.signal, INDEX_LIMITS, 16 << 20)).section('weight_map')
  if (!map) throw badCheckpoint(path, 'weight_map', 'has no `weight_map`')
  const shards = new Set<string>()
  for (const [name, file] of map.object) {
    if (
      typeof file !== 'string' ||
      file === '' ||
      file.length > LONGEST_NAME ||
      file.startsWith('.') ||
      /[\\/:\0]/.test(file) ||
      basename(file) !== file
    )
      throw badCheckpoint(
        path,
        `weight_map.${name}`,
        `tensor ${quote(name)} is listed in ${kindOfJson(file)}, which is not the name of a file in this folder`,
      )
    shards.add(file)
    if (shards.size > MOST_SHARDS)
      throw badCheckpoint(path, 'weight_map', `names more than ${MOST_SHARDS} files`)
  }
  if (shards.size === 0) throw badCheckpoint(path, 'weight_map', '`weight_map` is empty')
  for (const shard of shards) {
    await readWeights(join(folder, shard), table, pace, opened)
  }
  for (const [name, shard] of map.object) {
    const there = table.found.has(name) ? basename(table.pathOfName(name)) : undefined
    if (there !== shard)
      throw badCheckpoint(
        path,
        `weight_map.${name}`,
        `tensor ${quote(name)} is listed in ${shard}, but is ${there === undefined ? 'missing' : `in ${there}`}`,
      )
  }
  for (const name of table.found.keys())
    if (!map.object.has(name))
      throw badCheckpoint(
        path,
        'weight_map',
        `tensor ${quote(name)} of ${basename(table.pathOfName(name))} is not in \`weight_map\``,
      )
}
