/** The golden vocabularies of files: test/golden/tokenizer/make_files.py made them. */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { packageRoot } from '../../lib/base/package.js'
import type { FileTokenizerSpec } from '../../lib/tokenizer/spec.js'

const packed = join(packageRoot, 'test/golden/tokenizer/files')
const read = (name: string) =>
  JSON.parse(gunzipSync(readFileSync(join(packed, `${name}.json.gz`))).toString('utf8'))

export interface GoldenCase extends Pick<FileTokenizerSpec, 'class' | 'cleaning'> {
  name: string
  folder: string
  file: string
  language?: string
  ids: number[][]
  pad: number | null
  decoded: (string | null)[]
}

export const golden = (): { strings: string[]; cases: GoldenCase[] } => read('expected')

/** Unpacks a vocabulary into a folder of its own, which `remove` deletes. */
export function unpacked(name: string): { folder: string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'clip-native-vocabulary-'))
  mkdirSync(folder, { recursive: true })
  for (const [file, bytes] of Object.entries(read(name) as Record<string, string>))
    writeFileSync(join(folder, file), Buffer.from(bytes, 'base64'))
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) }
}
