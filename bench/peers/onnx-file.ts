/** Writes ONNX files: the few messages of onnx.proto that a graph needs, in protobuf's wire format. */

import { open, rename } from 'node:fs/promises'

/** TensorProto.DataType. */
export const types = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7, bool: 9 } as const
export type OnnxType = keyof typeof types

export type Attribute = number | string | { float: number } | number[]

/** One message: pieces in order. Large tensors are kept as they are and are not joined by copying. */
class Message {
  readonly pieces: Uint8Array[] = []
  length = 0

  private push(piece: Uint8Array): this {
    this.pieces.push(piece)
    this.length += piece.length
    return this
  }

  private static varint(value: number | bigint): Uint8Array {
    let rest = BigInt.asUintN(64, BigInt(value))
    const out: number[] = []
    do {
      const low = Number(rest & 127n)
      rest >>= 7n
      out.push(rest ? low | 128 : low)
    } while (rest)
    return Uint8Array.from(out)
  }

  private tag(field: number, wire: number): this {
    return this.push(Message.varint((field << 3) | wire))
  }

  int(field: number, value: number | bigint): this {
    return this.tag(field, 0).push(Message.varint(value))
  }

  float(field: number, value: number): this {
    return this.tag(field, 5).push(new Uint8Array(Float32Array.of(value).buffer))
  }

  bytes(field: number, value: Uint8Array): this {
    return this.tag(field, 2).push(Message.varint(value.length)).push(value)
  }

  text(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value))
  }

  message(field: number, value: Message): this {
    this.tag(field, 2).push(Message.varint(value.length))
    for (const piece of value.pieces) this.push(piece)
    return this
  }
}

function attribute(name: string, value: Attribute): Message {
  const m = new Message().text(1, name)
  if (typeof value === 'number') return m.int(3, value).int(20, 2)
  if (typeof value === 'string') return m.text(4, value).int(20, 3)
  if (Array.isArray(value)) {
    for (const v of value) m.int(8, v)
    return m.int(20, 7)
  }
  return m.float(2, value.float).int(20, 1)
}

/** A graph being built. Every method returns the name of the value that it creates. */
export class Graph {
  private readonly body = new Message()
  private readonly weights = new Message()
  private readonly ends = new Message()
  private readonly names = new Map<string, string>()
  private made = 0

  /** A node with one output (or `outputs` of them, as an array). */
  node(op: string, inputs: string[], attributes: Record<string, Attribute> = {}, output?: string): string {
    return this.nodes(op, inputs, 1, attributes, output)[0]!
  }

  nodes(
    op: string,
    inputs: string[],
    outputs: number,
    attributes: Record<string, Attribute> = {},
    output?: string,
  ): string[] {
    const out = output ? [output] : Array.from({ length: outputs }, () => `${op}_${this.made++}`)
    const m = new Message()
    for (const name of inputs) m.text(1, name)
    for (const name of out) m.text(2, name)
    m.text(3, `node_${out[0]}`).text(4, op)
    for (const [name, value] of Object.entries(attributes)) m.message(5, attribute(name, value))
    this.body.message(1, m)
    return out
  }

  tensor(
    name: string,
    shape: readonly number[],
    type: OnnxType,
    data: Float32Array | Uint8Array | Int8Array | Int32Array | BigInt64Array,
  ): string {
    const m = new Message()
    for (const d of shape) m.int(1, d)
    m.int(2, types[type]).text(8, name)
    m.bytes(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    this.weights.message(5, m)
    return name
  }

  /** int64 constants, shared by value. */
  ints(values: number | number[]): string {
    const list = Array.isArray(values) ? values : [values]
    const name = `int64_${Array.isArray(values) ? 'list' : 'scalar'}_${list.join('_').replaceAll('-', 'm')}`
    return this.constant(name, () =>
      this.tensor(
        name,
        Array.isArray(values) ? [list.length] : [],
        'int64',
        BigInt64Array.from(list, v => BigInt(v)),
      ),
    )
  }

  float(value: number): string {
    const name = `float_${value}`
    return this.constant(name, () => this.tensor(name, [], 'float32', Float32Array.of(value)))
  }

  private constant(name: string, make: () => string): string {
    let made = this.names.get(name)
    if (!made) {
      made = make()
      this.names.set(name, made)
    }
    return made
  }

  /** Dimensions given as names are dynamic. */
  input(name: string, type: OnnxType, shape: (number | string)[]): string {
    return this.end(11, name, type, shape)
  }

  output(name: string, type: OnnxType, shape: (number | string)[]): string {
    return this.end(12, name, type, shape)
  }

  private end(field: number, name: string, type: OnnxType, shape: (number | string)[]): string {
    const dims = new Message()
    for (const d of shape)
      dims.message(1, typeof d === 'number' ? new Message().int(1, d) : new Message().text(2, d))
    const tensorType = new Message().int(1, types[type]).message(2, dims)
    this.ends.message(field, new Message().text(1, name).message(2, new Message().message(1, tensorType)))
    return name
  }

  /** Writes the model file: opset 17, the first with LayerNormalization. */
  async write(file: string): Promise<void> {
    const graph = new Message()
    for (const part of [this.body, this.weights, this.ends]) {
      graph.pieces.push(...part.pieces)
      graph.length += part.length
    }
    // GraphProto: the name is field 2, and fields may come in any order.
    graph.text(2, 'main_graph')
    const model = new Message()
      .int(1, 8)
      .text(2, 'clip-native bench')
      .message(7, graph)
      .message(8, new Message().text(1, '').int(2, 17))
    const partial = `${file}.${process.pid}`
    const handle = await open(partial, 'w')
    try {
      for (let i = 0; i < model.pieces.length; i += 512) {
        const part = model.pieces.slice(i, i + 512)
        const { bytesWritten } = await handle.writev(part)
        if (bytesWritten !== part.reduce((n, p) => n + p.length, 0))
          throw new Error(`${partial}: wrote ${bytesWritten} bytes only`)
      }
    } finally {
      await handle.close()
    }
    await rename(partial, file)
  }
}
