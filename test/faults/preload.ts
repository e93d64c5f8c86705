/**
 * Libraries that are preloaded into Node and make calls fail: compiled here, with the compiler that built the addon, and
 * told what to do through a small file that they map.
 */
import { execFile, spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../lib/base/package.js'
import { patience } from '../helpers/patience.js'

/** The compiler of the addon, or the system's. */
function compiler(): string {
  const cache = join(packageRoot, 'build/cmake/CMakeCache.txt')
  const named = existsSync(cache) ? /^CMAKE_CXX_COMPILER:\w+=(.+)$/m.exec(readFileSync(cache, 'utf8')) : null
  return named?.[1] ?? 'c++'
}

/** Why nothing can be preloaded here, or undefined. */
export const missing =
  process.platform !== 'linux' || !process.report
    ? 'needs Linux'
    : !(process.report.getReport() as { header?: { glibcVersionRuntime?: string } }).header
          ?.glibcVersionRuntime
      ? 'needs glibc'
      : process.env.LD_PRELOAD
        ? 'needs LD_PRELOAD for itself'
        : spawnSync(compiler(), ['--version'], { stdio: 'ignore' }).status !== 0
          ? 'needs a C++ compiler'
          : undefined

/** Compiles test/faults/<name>.cc into `folder`; resolves to the library's path. */
export function build(name: string, folder: string): Promise<string> {
  mkdirSync(folder, { recursive: true })
  const library = join(folder, `${name}.so`)
  const source = join(packageRoot, 'test/faults', `${name}.cc`)
  const flags = ['-std=c++20', '-O2', '-fPIC', '-shared', '-Wall', '-Wextra']
  return new Promise((resolve, reject) =>
    execFile(compiler(), [...flags, source, '-o', library, '-ldl'], (error, _, stderr) =>
      error ? reject(new Error(`${source}: ${stderr}`)) : resolve(library),
    ),
  )
}

export interface Ended {
  /** Exit status, or the signal that ended it ('timeout' when that was us). */
  end: number | string
  stdout: string
  stderr: string
}

/** Runs a compiled module of this folder with the library preloaded; `orders` is the file that it maps. */
export function preloaded(
  library: string,
  orders: string,
  script: string,
  args: string[],
  options: { env?: NodeJS.ProcessEnv; seconds?: number } = {},
): Promise<Ended> {
  const { env = {}, seconds = 240 } = options
  const file = join(packageRoot, 'dist/test/faults', `${script}.js`)
  return new Promise(resolve => {
    execFile(
      process.execPath,
      [file, ...args],
      {
        env: { ...process.env, ...env, LD_PRELOAD: library, CLIP_FAULTS: orders },
        timeout: patience * seconds * 1000,
        killSignal: 'SIGKILL',
        maxBuffer: 1 << 26,
      },
      (error, stdout, stderr) => {
        const end = !error ? 0 : error.killed ? 'timeout' : (error.signal ?? Number(error.code))
        resolve({ end, stdout: stdout.trim(), stderr })
      },
    )
  })
}

/** The numbers that a library and the test share: `places` 64-bit integers of the file CLIP_FAULTS. */
export class Orders {
  readonly #fd: number
  readonly #words: BigInt64Array

  constructor(file: string, places: number) {
    this.#fd = openSync(file, 'r+')
    this.#words = new BigInt64Array(places)
  }

  read(place: number): number {
    readSync(this.#fd, this.#words, 0, 8 * this.#words.length, 0)
    return Number(this.#words[place])
  }

  write(place: number, value: number): void {
    const word = BigInt64Array.of(BigInt(value))
    writeSync(this.#fd, word, 0, 8, 8 * place)
  }

  close(): void {
    closeSync(this.#fd)
  }

  /** An empty file of that many places. */
  static make(file: string, places: number): string {
    const fd = openSync(file, 'w', 0o600)
    writeSync(fd, Buffer.alloc(8 * places))
    closeSync(fd)
    return file
  }
}
