/**
 * Downloads one file: it is written beside its destination, resumed where an earlier attempt or process stopped, verified and
 * only then renamed. A file at its destination is always complete.
 */

import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open, rename, rm, statfs, writeFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { ClipError } from '../base/errors.js'
import { makeFolder } from '../base/make-folder.js'
import { fileSize, readSmall } from './cache.js'
import { fileError, formatBytes } from './file-error.js'
import { bareUrl, type Http, pieces, type Reply, retrying, TransientError } from './http.js'
import type { HubSettings } from './options.js'

/** A file on a server, and what is known about it before the download. */
export interface RemoteFile {
  url: string
  sha256?: string
  /** Git's name for the content: SHA-1 of "blob <bytes>\0" and the content. Needs `bytes`. */
  gitSha1?: string
  /** Expected length from its listing; another length is an error. */
  bytes?: number
  /** Whether the hub's token may be sent. */
  authorized?: boolean
}

export interface FileHooks {
  /** Reports the bytes on disk and the total number of bytes. */
  report?: (phase: 'downloading' | 'verifying', received: number, total: number | undefined) => void
  /** Called before anything is put in place. */
  check?: () => Promise<void>
}

/** Stored beside a partial file: describes the complete file. */
interface PartState {
  url: string
  etag?: string
  total?: number
  sha256?: string
}

/** Both digests of the data written so far. */
class Digest {
  length = 0
  private readonly sha256 = createHash('sha256')
  private readonly git: Hash | undefined

  constructor(remote: RemoteFile) {
    if (remote.gitSha1 !== undefined && remote.bytes !== undefined)
      this.git = createHash('sha1').update(`blob ${remote.bytes}\0`)
  }

  update(piece: Buffer) {
    this.sha256.update(piece)
    this.git?.update(piece)
    this.length += piece.length
  }

  end(): { sha256: string; gitSha1: string | undefined } {
    return { sha256: this.sha256.digest('hex'), gitSha1: this.git?.digest('hex') }
  }
}

async function readState(file: string): Promise<PartState | undefined> {
  try {
    const state = JSON.parse(await readSmall(file)) as PartState | null
    return typeof state?.url === 'string' ? state : undefined
  } catch {
    return undefined
  }
}

async function writeAll(handle: FileHandle, piece: Buffer, position: number): Promise<void> {
  for (let done = 0; done < piece.length; ) {
    const { bytesWritten } = await handle.write(piece, done, piece.length - done, position + done)
    done += bytesWritten
  }
}

/** A weak etag does not guarantee equal bytes. */
const strongEtag = (etag: string | undefined) => (etag?.startsWith('"') ? etag : undefined)

/** Parses "bytes 100-999/1000"; the end of the range is not needed. */
function parseRange(value: string | undefined): { start?: number; total?: number } | undefined {
  const match = /^bytes (?:(\d{1,15})-\d{1,15}|\*)\/(?:(\d{1,15})|\*)$/.exec(value?.trim() ?? '')
  if (!match) return undefined
  return {
    ...(match[1] === undefined ? {} : { start: Number(match[1]) }),
    ...(match[2] === undefined ? {} : { total: Number(match[2]) }),
  }
}

/** Syncs the folder to make the rename durable; systems that can't (Windows) are ignored. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined)
  await handle?.sync().catch(() => {})
  await handle?.close()
}

class Download {
  private readonly part: string
  private readonly stateFile: string
  private readonly url: string
  private digest: Digest | undefined
  /** The highest offset that any attempt reached, and the offset of the last progress report. */
  private best = 0
  private counted = 0
  private total: number | undefined
  /** The partial file has bytes of an earlier attempt, which may be the reason if the hash is wrong. */
  private resumed = false
  private restarted = false

  constructor(
    private readonly http: Http,
    private readonly remote: RemoteFile,
    private readonly target: string,
    private readonly settings: HubSettings,
    private readonly hooks: FileHooks,
  ) {
    this.part = `${target}.part`
    this.stateFile = `${target}.part.json`
    this.url = bareUrl(remote.url)
  }

  async run(): Promise<void> {
    try {
      await makeFolder(dirname(this.target))
      do {
        await retrying(
          this.settings,
          this.remote.url,
          () => this.attempt(),
          () => this.hasProgressed(),
        )
      } while (!(await this.finish()))
    } catch (error) {
      this.settings.signal?.throwIfAborted()
      throw fileError(error, this.part)
    }
  }

  /** An attempt counts as progress if it adds a hundredth of the file or a mebibyte, which bounds the number of attempts. */
  private hasProgressed(): boolean {
    const step = Math.max(1, Math.min(2 ** 20, (this.total ?? Infinity) / 100))
    if (this.best - this.counted < step) return false
    this.counted = this.best
    return true
  }

  private report(phase: 'downloading' | 'verifying', received: number) {
    this.best = Math.max(this.best, received)
    this.hooks.report?.(phase, received, this.total ?? this.remote.bytes)
  }

  private async discard(): Promise<void> {
    this.digest = undefined
    this.resumed = false
    await rm(this.part, { force: true })
    await rm(this.stateFile, { force: true })
  }

  /** How many bytes of the partial file can be kept, and the state in which they were written. */
  private async kept(): Promise<{ offset: number; state: PartState | undefined }> {
    const size = await fileSize(this.part)
    const state = await readState(this.stateFile)
    const { url, sha256 } = this.remote
    const sameFile = state?.url === url && (sha256 === undefined || (state.sha256 ?? sha256) === sha256)
    // Without a strong etag, only a hash can show whether the rest belongs to the same file.
    const canTell = strongEtag(state?.etag) !== undefined || sha256 !== undefined
    const total = this.remote.bytes ?? state?.total
    if (!size || !sameFile || !canTell || (total !== undefined && size > total)) {
      await this.discard()
      return { offset: 0, state: undefined }
    }
    return { offset: size, state }
  }

  /** Makes one request and writes what arrives. Returns when all bytes are in the partial file and synced. */
  private async attempt(): Promise<void> {
    const { offset, state } = await this.kept()
    this.total ??= this.remote.bytes ?? state?.total
    if (offset > 0) await this.rehash(offset)
    if (offset > 0 && offset === this.total) {
      this.resumed = true
      return
    }
    const etag = strongEtag(state?.etag)
    const headers: Record<string, string> =
      offset > 0 ? { range: `bytes=${offset}-`, ...(etag ? { 'if-range': etag } : {}) } : {}
    const reply = await this.http.get(this.remote.url, { headers, authorized: this.remote.authorized })
    try {
      await this.receive(reply, offset)
    } finally {
      reply.body.destroy()
    }
  }

  private async receive(reply: Reply, asked: number): Promise<void> {
    const { remote } = this
    const coding = reply.headers['content-encoding']
    if (coding !== undefined && coding !== 'identity')
      throw this.refuse(`sends ${coding}, expected the file without compression`)
    // The hub's headers may have the facts that its listing lacks.
    remote.sha256 ??= reply.linked.sha256
    remote.bytes ??= reply.linked.bytes
    let position = 0
    if (reply.status !== 200) {
      const range = parseRange(reply.headers['content-range'])
      if (reply.status === 416 || range?.start !== asked || asked === 0) {
        await this.discard()
        throw new TransientError(`the server could not continue at byte ${asked}`)
      }
      position = asked
      this.total = range.total ?? this.total
    } else {
      const length = reply.headers['content-length']
      this.total = length !== undefined && /^\d{1,18}$/.test(length) ? Number(length) : undefined
      this.digest = new Digest(remote)
    }
    if (remote.bytes !== undefined && this.total !== undefined && this.total !== remote.bytes) {
      await this.discard()
      throw this.wrongLength(remote.bytes, this.total)
    }
    await this.checkSpace(position)
    this.resumed = position > 0
    const handle = await open(this.part, position > 0 ? 'r+' : 'w')
    try {
      const state: PartState = {
        url: remote.url,
        etag: reply.headers.etag,
        total: this.total,
        sha256: remote.sha256,
      }
      await writeFile(this.stateFile, JSON.stringify(state))
      this.report('downloading', position)
      for await (const piece of pieces(reply, remote.url, this.settings.signal)) {
        const most = this.total ?? remote.bytes
        if (most !== undefined && position + piece.length > most)
          throw this.wrongLength(most, position + piece.length)
        await writeAll(handle, piece, position)
        this.digest!.update(piece)
        position += piece.length
        this.report('downloading', position)
      }
      if (this.total !== undefined && position < this.total)
        throw new TransientError(`the connection ended at byte ${position} of ${this.total}`)
      if (remote.bytes !== undefined && position !== remote.bytes)
        throw this.wrongLength(remote.bytes, position)
      this.total = position
      await handle.sync()
    } finally {
      await handle.close()
    }
  }

  /** Reads the partial file again unless this process wrote all of it, because the digest must cover every byte. */
  private async rehash(offset: number): Promise<void> {
    if (this.digest?.length === offset) return
    this.digest = new Digest(this.remote)
    for await (const piece of createReadStream(this.part, { end: offset - 1 }) as AsyncIterable<Buffer>) {
      this.settings.signal?.throwIfAborted()
      this.digest.update(piece)
      this.report('verifying', this.digest.length)
    }
  }

  /** Verifies the file and renames it into place. Returns false if parts of several attempts don't fit: it is then fetched afresh, once. */
  private async finish(): Promise<boolean> {
    const { remote } = this
    const actual = this.digest!.end()
    this.digest = undefined
    const pairs = [
      ['SHA-256', remote.sha256, actual.sha256],
      ['git SHA-1', actual.gitSha1 === undefined ? undefined : remote.gitSha1, actual.gitSha1],
    ] as const
    for (const [kind, expected, got] of pairs) {
      if (expected === undefined || expected === got) continue
      const patchwork = this.resumed && !this.restarted
      await this.discard()
      if (patchwork) {
        this.restarted = true
        return false
      }
      throw new ClipError(
        'ERR_CLIP_CHECKSUM',
        `${this.url} has ${kind} ${got}, expected ${expected}: the file was deleted; a proxy or mirror may have changed it`,
        { file: this.target, field: 'sha256', expected, actual: got },
      )
    }
    await this.hooks.check?.()
    await rename(this.part, this.target)
    await syncFolder(dirname(this.target))
    await rm(this.stateFile, { force: true })
    return true
  }

  private async checkSpace(position: number): Promise<void> {
    if (this.total === undefined) return
    const disk = await statfs(dirname(this.target)).catch(() => undefined)
    const free = disk && disk.bavail * disk.bsize
    const needed = this.total - position
    // Some network and virtual file systems report 0 of 0 blocks because they don't know.
    if (free === undefined || disk?.blocks === 0 || needed <= free) return
    throw new ClipError(
      'ERR_CLIP_DOWNLOAD',
      `${this.target} needs ${formatBytes(needed)}, but ${dirname(this.target)} has ${formatBytes(free)} free: free some space, or choose another folder with the option cacheDir or the environment variable CLIP_NATIVE_CACHE`,
      { file: this.target, expected: `${needed} bytes free`, actual: `${free}` },
    )
  }

  private wrongLength(expected: number, actual: number): ClipError {
    return new ClipError('ERR_CLIP_DOWNLOAD', `${this.url} sends ${actual} bytes, expected ${expected}`, {
      file: basename(this.target),
      field: 'content-length',
      expected: String(expected),
      actual: String(actual),
    })
  }

  private refuse(text: string): ClipError {
    return new ClipError('ERR_CLIP_DOWNLOAD', `${this.url} ${text}`, { file: this.url })
  }
}

/**
 * Downloads `remote` to `target`. The caller must hold the lock of `target`. Rejects with `signal.reason`, ERR_CLIP_CHECKSUM
 * (with both hashes; the file is deleted) or ERR_CLIP_DOWNLOAD.
 */
export async function downloadFile(
  http: Http,
  remote: RemoteFile,
  target: string,
  settings: HubSettings,
  hooks: FileHooks = {},
): Promise<void> {
  await new Download(http, { ...remote }, target, settings, hooks).run()
}
