/** Reads JSON files of a model folder. Typed access to their fields throws errors that name the file and the field. */

import { basename } from 'node:path'
import {
  CONFIG_LIMITS,
  type Json,
  JsonError,
  type JsonLimits,
  type JsonObject,
  parseJson,
} from '../base/json.js'
import { inSlices } from '../base/slices.js'
import { badConfig } from './errors.js'
import { openSource } from './source-file.js'

export function kindOfJson(value: Json | undefined): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (value instanceof Map) return 'an object'
  const text = JSON.stringify(value)
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

/** An object in a JSON file. Absent keys take the default that is passed; null counts as absent. */
export class Fields {
  constructor(
    readonly file: string,
    readonly object: JsonObject,
    readonly path = '',
  ) {}

  /** Shortened for messages, because a key may be very long. */
  name(key: string): string {
    const short = key.length > 80 ? `${key.slice(0, 77)}...` : key
    return this.path ? `${this.path}.${short}` : short
  }

  has(key: string): boolean {
    const value = this.object.get(key)
    return value !== undefined && value !== null
  }

  get(key: string): Json | undefined {
    return this.object.get(key) ?? undefined
  }

  /** ERR_CLIP_CONFIG: Expected `vision_config.hidden_size` to be ..., got ... */
  wrong(key: string, expected: string): Error {
    const field = this.name(key)
    const actual = kindOfJson(this.object.get(key))
    return badConfig(this.file, field, `expected \`${field}\` to be ${expected}, got ${actual}`, {
      expected,
      actual,
    })
  }

  integer(key: string, fallback?: number, least = 1, most = 1 << 24): number {
    const value = this.get(key) ?? fallback
    if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most)
      throw this.wrong(key, `an integer from ${least} to ${most}`)
    return value
  }

  number(key: string, fallback?: number): number {
    const value = this.get(key) ?? fallback
    if (typeof value !== 'number' || !Number.isFinite(value)) throw this.wrong(key, 'a number')
    return value
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.get(key) ?? fallback
    if (typeof value !== 'boolean') throw this.wrong(key, 'true or false')
    return value
  }

  string(key: string, fallback?: string): string {
    const value = this.get(key) ?? fallback
    if (typeof value !== 'string') throw this.wrong(key, 'a string')
    return value
  }

  /** Three finite numbers: mean and std. */
  triple(key: string, fallback: [number, number, number], positive = false): [number, number, number] {
    const value = this.get(key)
    if (value === undefined) return fallback
    if (
      !Array.isArray(value) ||
      value.length !== 3 ||
      !value.every(v => typeof v === 'number' && Number.isFinite(v) && (!positive || v > 0))
    )
      throw this.wrong(key, `three ${positive ? 'positive ' : ''}numbers`)
    return value as [number, number, number]
  }

  section(key: string): Fields | undefined {
    const value = this.get(key)
    if (value === undefined) return undefined
    if (!(value instanceof Map)) throw this.wrong(key, 'an object')
    return new Fields(this.file, value, this.name(key))
  }
}

const LARGEST_CONFIG = 1 << 20

/** Reads a JSON file that contains an object. Throws ERR_CLIP_CONFIG if it is too large, not JSON, or not an object. */
export async function readJsonFile(
  path: string,
  signal: AbortSignal | undefined,
  limits: JsonLimits = CONFIG_LIMITS,
  largest = LARGEST_CONFIG,
): Promise<Fields> {
  const file = await openSource(path, signal)
  try {
    if (file.bytes > largest)
      throw badConfig(
        path,
        undefined,
        `is ${file.bytes} bytes, more than the ${largest} that such a file may have`,
      )
    const text = await file.text(0, file.bytes, basename(path))
    const value = await inSlices(parseJson(text, limits), signal)
    if (!(value instanceof Map))
      throw badConfig(path, undefined, `expected a JSON object, got ${kindOfJson(value)}`)
    return new Fields(path, value)
  } catch (cause) {
    if (cause instanceof JsonError)
      throw badConfig(path, undefined, `is not JSON: ${cause.message}`, { cause })
    throw cause
  } finally {
    await file.close()
  }
}
