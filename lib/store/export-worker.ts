/**
 * The thread that writes an export. The libraries that encode Arrow and Parquet compute for a tenth of a second at a time,
 * which would block the caller's event loop. The thread reads the store's files itself and needs no model.
 */

import { extname } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { ClipError } from '../base/errors.js'
import { writeOutput } from '../base/output-file.js'
import { optionalPeer } from './errors.js'
import type { ExportEnd, ExportJob } from './export.js'
import { Generation, type OpenFiles } from './generation.js'
import { readStoreHeader } from './header.js'
import { npyHeader } from './npy.js'
import type { StoreBatch } from './types.js'

type Batches = AsyncGenerator<StoreBatch, void, void>

interface Target {
  write(data: Uint8Array): Promise<void>
  batches: Batches
  embedDim: number
}

type Make = new (...values: unknown[]) => object
/** The part of apache-arrow that is used here. Its own types need those of a browser. */
interface Arrow
  extends Record<'Schema' | 'Field' | 'Utf8' | 'Float32' | 'FixedSizeList' | 'Struct' | 'RecordBatch', Make> {
  RecordBatchFileWriter: new () => AsyncIterable<Uint8Array> & {
    reset(sink: undefined, schema: object): void
    write(batch: object): void
    finish(): void
  }
  makeData(of: object): object
  vectorFromArray(values: readonly string[], type: object): { data: readonly object[] }
}

const view = (a: ArrayBufferView) => new Uint8Array(a.buffer, a.byteOffset, a.byteLength)

async function npy(path: string, batches: Batches, dim: number): Promise<void> {
  await writeOutput(`${path.slice(0, -4)}.ids.jsonl`, idFile =>
    writeOutput(path, async file => {
      // The number of rows is known only at the end. The header has room for it and keeps its length.
      const length = npyHeader([2 ** 31, dim]).length
      await file.write(npyHeader([0, dim], length))
      let rows = 0
      for await (const { ids, embeddings } of batches) {
        await file.write(view(embeddings.data))
        await idFile.write(Buffer.from(ids.map(id => `${JSON.stringify(id)}\n`).join('')))
        rows += ids.length
      }
      await file.write(npyHeader([rows, dim], length), 0)
    }),
  )
}

async function arrow({ embedDim: dim, batches, write }: Target): Promise<void> {
  const a = await optionalPeer<Arrow>('apache-arrow', '18.1.0', 'Export to .arrow')
  const type = new a.FixedSizeList(dim, new a.Field('item', new a.Float32(), false))
  const fields = [new a.Field('id', new a.Utf8(), false), new a.Field('vector', type, false)]
  const schema = new a.Schema(fields)
  const writer = new a.RecordBatchFileWriter()
  writer.reset(undefined, schema)
  let waiting = 0
  const consumer = (async () => {
    for await (const bytes of writer) {
      waiting++
      await write(bytes)
      waiting--
    }
  })()
  consumer.catch(() => {}) // thrown below
  try {
    for await (const { ids, embeddings } of batches) {
      const length = ids.length
      const values = a.makeData({ type: new a.Float32(), length: length * dim, data: embeddings.data })
      const vector = a.makeData({ type, length, nullCount: 0, child: values })
      const id = a.vectorFromArray(ids, new a.Utf8()).data[0]!
      const rows = a.makeData({ type: new a.Struct(fields), length, nullCount: 0, children: [id, vector] })
      writer.write(new a.RecordBatch(schema, rows))
      // The writer buffers data that has not been consumed: wait until it is on disk.
      do await Promise.race([turn(), consumer])
      while (waiting > 0)
    }
  } finally {
    writer.finish()
  }
  await consumer
}

async function parquet({ embedDim, batches, write }: Target): Promise<void> {
  const { ByteWriter, ParquetWriter } = await optionalPeer<typeof import('hyparquet-writer')>(
    'hyparquet-writer',
    '0.17.0',
    'Export to .parquet',
  )
  const bytes: InstanceType<typeof ByteWriter> & { flush?: () => Promise<void> } = new ByteWriter()
  const flush = async () => {
    const part = bytes.getBytes().slice(0, bytes.index)
    bytes.index = 0
    await write(part)
  }
  const writer = new ParquetWriter({
    writer: bytes,
    // Embeddings look like random floats and don't compress.
    codec: 'UNCOMPRESSED',
    createdBy: 'clip-native',
    kvMetadata: [{ key: 'clip-native.embedDim', value: String(embedDim) }],
    schema: [
      { name: 'root', num_children: 2 },
      { name: 'id', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
      { name: 'vector', converted_type: 'LIST', repetition_type: 'REQUIRED', num_children: 1 },
      { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
      { name: 'element', type: 'FLOAT', repetition_type: 'REQUIRED' },
    ],
  })
  for await (const { ids, embeddings } of batches) {
    const vectors = Array.from(embeddings as Iterable<Float32Array>, row => Array.from(row))
    await writer.write({
      columnData: [
        { name: 'id', data: ids, statistics: false },
        { name: 'vector', data: vectors, statistics: false, encoding: 'PLAIN' },
      ],
      rowGroupSize: ids.length,
    })
    await flush()
  }
  writer.finish()
  await flush()
}

/** Opens the current files of the store, and tries again if a compaction has just replaced them. */
async function openNow(folder: string, signal: AbortSignal): Promise<{ now: Generation; files: OpenFiles }> {
  for (let header = await readStoreHeader(folder); ; ) {
    if (!header) throw new ClipError('ERR_CLIP_INPUT', `${folder}: is no longer a store`, { file: folder })
    const now = new Generation(folder, header)
    try {
      await now.refresh(signal)
      return { now, files: await now.open(signal) }
    } catch (error) {
      const next = await readStoreHeader(folder)
      if (next?.generation === header.generation) throw error
      header = next
    }
  }
}

async function run({ folder, path }: ExportJob, signal: AbortSignal): Promise<void> {
  const { now, files } = await openNow(folder, signal)
  try {
    const { embedDim } = now.header
    const batches = now.batches(files, now.log.rows, signal)
    const kind = extname(path).toLowerCase()
    if (kind === '.npy') await npy(path, batches, embedDim)
    else {
      const format = kind === '.parquet' ? parquet : arrow
      await writeOutput(path, file => format({ batches, embedDim, write: data => file.write(data) }))
    }
  } finally {
    await files.close()
  }
}

const control = new AbortController()
// Any message means "stop". The port does not keep the thread alive.
parentPort!.on('message', () => control.abort()).unref()
run(workerData, control.signal)
  .then(
    (): ExportEnd => ({}),
    (error): ExportEnd => {
      if (!(error instanceof ClipError)) return { error }
      const { code, message, file, field, expected, actual, cause } = error
      return { clip: { code, message, details: { file, field, expected, actual, cause } } }
    },
  )
  .then(end => parentPort!.postMessage(end))
