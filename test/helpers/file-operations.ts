/**
 * What the library does to files, as it does it: each operation is announced before it is made, and may be held up; and
 * recorded when it is made, as far as it changes what lies in one folder. The library calls node:fs/promises through its
 * module object, whose functions are exchanged here.
 */

import { constants } from 'node:fs'
import fs, { type FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

/** A change, in terms of inodes and names: what a disk is asked to keep. */
export type Operation =
  | { kind: 'create' | 'link'; path: string; inode: number }
  | { kind: 'folder' | 'unlink'; path: string }
  | { kind: 'rename'; from: string; path: string }
  | { kind: 'write'; inode: number; at: number; data: Buffer }
  | { kind: 'truncate'; inode: number; size: number }
  /** Everything written to the file so far lasts. */
  | { kind: 'sync'; inode: number }
  /** Every name made or removed in the folder so far lasts. */
  | { kind: 'syncFolder'; path: string }

export interface Watcher {
  /** The folder whose changes are recorded. */
  folder: string
  /** Called before each operation anywhere. */
  before?: (name: string, path: string) => void | Promise<void>
  record?: (operation: Operation) => void
}

interface Open {
  path: string
  inode: number | undefined
  append: boolean
  offset: number
}

type Method = (...values: never[]) => Promise<unknown>

/** Starts to watch; the result ends it. One at a time. */
export async function watchFiles({ folder, before, record }: Watcher): Promise<() => void> {
  const inside = (path: unknown): path is string => typeof path === 'string' && path.startsWith(folder)
  const names = new Map<string, number>()
  const sizes = new Map<number, number>()
  const opened = new WeakMap<object, Open>()
  const undo: (() => void)[] = []
  let inodes = 0
  const note = (operation: Operation) => record?.(operation)

  const exchange = (
    object: object,
    name: string,
    around: (original: () => Promise<unknown>, values: never[], self: object) => Promise<unknown>,
  ) => {
    const methods = object as Record<string, Method>
    const original = methods[name]!
    methods[name] = function (this: object, ...values: never[]) {
      return around(() => original.apply(this, values), values, this)
    }
    undo.push(() => {
      methods[name] = original
    })
  }

  const byPath = (name: string, after: (path: string, other: string) => void) =>
    exchange(fs, name, async (original, [path, other]) => {
      await before?.(name, path)
      const result = await original()
      if (inside(path)) after(path, other ?? '')
      return result
    })
  byPath('mkdir', path => note({ kind: 'folder', path }))
  const gone = (path: string) => {
    if (names.delete(path)) note({ kind: 'unlink', path })
  }
  byPath('unlink', gone)
  byPath('rm', gone)
  byPath('link', (from, path) => {
    const inode = names.get(from)!
    names.set(path, inode)
    note({ kind: 'link', path, inode })
  })
  byPath('rename', (from, path) => {
    names.set(path, names.get(from)!)
    names.delete(from)
    note({ kind: 'rename', from, path })
  })
  for (const name of ['stat', 'lstat', 'readdir']) byPath(name, () => {})

  exchange(fs, 'open', async (original, values) => {
    const [path, flags = 'r'] = values as unknown as [string, (string | number)?]
    await before?.('open', path)
    const handle = (await original()) as FileHandle
    if (!inside(path)) return handle
    const { O_CREAT, O_APPEND } = constants
    const creates = typeof flags === 'number' ? (flags & O_CREAT) !== 0 : !flags.startsWith('r')
    const append = typeof flags === 'number' ? (flags & O_APPEND) !== 0 : flags.startsWith('a')
    let inode = names.get(path)
    if (inode === undefined && creates) {
      // Counted here: a system gives the number of a file that was removed to a new one.
      inode = inodes++
      names.set(path, inode)
      sizes.set(inode, 0)
      note({ kind: 'create', path, inode })
    }
    opened.set(handle, { path, inode, append, offset: 0 })
    return handle
  })

  const probe = await fs.open(join(tmpdir(), '.'), 'r')
  const handles = Object.getPrototypeOf(probe) as object
  await probe.close()
  const byHandle = (name: string, after: (file: Open, values: unknown[], result: unknown) => void) =>
    exchange(handles, name, async (original, values, self) => {
      const file = opened.get(self)
      if (file) await before?.(name, file.path)
      // The data as it is now: a caller may reuse its buffer.
      const copy = values.map(v => (ArrayBuffer.isView(v) ? Buffer.from(v as Uint8Array) : v))
      const result = await original()
      if (file) after(file, copy, result)
      return result
    })
  const written = (file: Open, data: Buffer, position: number | null | undefined) => {
    const { inode } = file
    if (inode === undefined) return
    const size = sizes.get(inode)!
    const at = file.append ? size : (position ?? file.offset)
    if (typeof position !== 'number') file.offset = at + data.length
    sizes.set(inode, Math.max(size, at + data.length))
    if (data.length > 0) note({ kind: 'write', inode, at, data })
  }
  byHandle('write', (file, values, result) => {
    const [data, offset, , position] = values as [Buffer, number, number, number | null]
    const { bytesWritten } = result as { bytesWritten: number }
    written(file, data.subarray(offset, offset + bytesWritten), position)
  })
  byHandle('writeFile', (file, [data]) => written(file, Buffer.from(data as string), null))
  byHandle('truncate', (file, [size]) => {
    if (file.inode === undefined) return
    sizes.set(file.inode, size as number)
    note({ kind: 'truncate', inode: file.inode, size: size as number })
  })
  for (const name of ['sync', 'datasync'])
    byHandle(name, ({ inode, path }) =>
      note(inode === undefined ? { kind: 'syncFolder', path } : { kind: 'sync', inode }),
    )
  byHandle('read', () => {})

  return () => {
    for (const end of undo.reverse()) end()
  }
}

/** What a disk may hold after a crash: choices where it was not told to sync. */
export interface Choices {
  /** Whether a name that was made or removed lasts. */
  name(): boolean
  /** Which bytes of a write last, as a mask of pieces of 512 bytes; and whether the file has its length anyway. */
  piece(): boolean
  length(): boolean
}

/** The files after the first `count` operations and a crash: path to content; folders are undefined. */
export function afterCrash(
  operations: readonly Operation[],
  count: number,
  choices: Choices,
): Map<string, Buffer | undefined> {
  const files = new Map<number, Buffer>()
  const names = new Map<string, number | 'folder'>()
  let pendingWrites: Extract<Operation, { kind: 'write' | 'truncate' }>[] = []
  let pendingNames: Exclude<Operation, { kind: 'write' | 'truncate' | 'sync' | 'syncFolder' }>[] = []
  const grow = (inode: number, size: number) => {
    const old = files.get(inode) ?? Buffer.alloc(0)
    if (old.length < size) files.set(inode, Buffer.concat([old, Buffer.alloc(size - old.length)]))
    return files.get(inode)!
  }
  const write = (operation: (typeof pendingWrites)[number], lasting: boolean) => {
    const { inode } = operation
    if (operation.kind === 'truncate') {
      if (lasting || choices.piece())
        files.set(inode, Buffer.from(grow(inode, operation.size).subarray(0, operation.size)))
      return
    }
    const { at, data } = operation
    if (!lasting && choices.length()) grow(inode, at + data.length)
    for (let from = 0; from < data.length; ) {
      // Pieces as the disk has them, not as the write begins.
      const to = Math.min(data.length, from + 512 - ((at + from) % 512))
      if (lasting || choices.piece()) data.copy(grow(inode, at + to), at + from, from, to)
      from = to
    }
    if (data.length === 0) grow(inode, at)
  }
  const rename = (operation: (typeof pendingNames)[number]) => {
    const { path } = operation
    if (operation.kind === 'folder') names.set(path, 'folder')
    else if (operation.kind === 'unlink') names.delete(path)
    else if (operation.kind === 'rename') {
      const inode = names.get(operation.from)
      if (inode === undefined) return
      names.delete(operation.from)
      names.set(path, inode)
    } else if ('inode' in operation) names.set(path, operation.inode)
  }
  for (const operation of operations.slice(0, count)) {
    if (operation.kind === 'sync') {
      const mine = (w: { inode: number }) => w.inode === operation.inode
      for (const w of pendingWrites.filter(mine)) write(w, true)
      pendingWrites = pendingWrites.filter(w => !mine(w))
    } else if (operation.kind === 'syncFolder') {
      const mine = (n: { path: string }) => dirname(n.path) === operation.path
      for (const n of pendingNames.filter(mine)) rename(n)
      pendingNames = pendingNames.filter(n => !mine(n))
    } else if (operation.kind === 'write' || operation.kind === 'truncate') pendingWrites.push(operation)
    else pendingNames.push(operation)
  }
  for (const w of pendingWrites) write(w, false)
  for (const n of pendingNames) if (choices.name()) rename(n)
  const found = new Map<string, Buffer | undefined>()
  for (const [path, inode] of names)
    found.set(path, inode === 'folder' ? undefined : (files.get(inode) ?? Buffer.alloc(0)))
  return found
}
