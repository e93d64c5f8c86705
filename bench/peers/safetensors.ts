/** The float32 safetensors files that bench/random-model.ts writes, read tensor by tensor. */

import { closeSync, openSync, readSync } from 'node:fs'

export interface Checkpoint {
  /** Throws if there is no such tensor. */
  tensor(name: string): { shape: number[]; data: Float32Array }
  names: string[]
}

export async function openCheckpoint(file: string): Promise<Checkpoint> {
  const read = (at: number, bytes: number): Uint8Array<ArrayBuffer> => {
    const out = new Uint8Array(bytes)
    const handle = openSync(file, 'r')
    try {
      for (let done = 0; done < bytes; ) {
        const n = readSync(handle, out, done, bytes - done, at + done)
        if (n === 0) throw new Error(`${file} ends early`)
        done += n
      }
    } finally {
      closeSync(handle)
    }
    return out
  }
  const length = Number(Buffer.from(read(0, 8)).readBigUInt64LE())
  const header = JSON.parse(Buffer.from(read(8, length)).toString()) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >
  return {
    names: Object.keys(header),
    tensor(name) {
      const entry = header[name]
      if (entry?.dtype !== 'F32') throw new Error(`${file} has no float32 tensor ${name}`)
      const [from, to] = entry.data_offsets
      return { shape: entry.shape, data: new Float32Array(read(8 + length + from, to - from).buffer) }
    },
  }
}
