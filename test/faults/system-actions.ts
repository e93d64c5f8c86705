/** Every public function that reaches files, memory or threads, for the tests in which the system refuses them. */
import { cp, mkdir, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import sharp from 'sharp'
import { packageRoot } from '../../lib/base/package.js'
import { resolveName } from '../../lib/hub/index.js'
import { decodeImage } from '../../lib/image/decode.js'
import { load, type Store } from '../../lib/index.js'
import { randomBytes } from '../helpers/random.js'
import { answerHub, type HubFile, tinyRepo } from '../hub/server.js'
import { type Action, actions, type Stage } from './actions.js'

export interface SystemAction extends Action {
  /** Before each fault. */
  renew?(stage: Stage): Promise<void>
  /** When the fault is over, whatever became of the call; in place of: the same call gives what it gave at first. */
  after?(stage: Stage): Promise<void>
}

function holds(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`After a fault: ${what}`)
}

const at = (stage: Stage, name: string) => join(stage.folder, name)
const remove =
  (...names: string[]) =>
  async (stage: Stage) => {
    for (const name of names) await rm(at(stage, name), { recursive: true, force: true })
  }

const item = (n: number) => ({
  id: `${n}`,
  image: { data: randomBytes(n + 1, 8 * 8 * 3), width: 8, height: 8, channels: 3 as const },
})
const items = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => item(from + i))
const idsOf = (from: number, to: number) => items(from, to).map(({ id }) => id)

async function using<T>({ clip }: Stage, folder: string, body: (store: Store) => Promise<T>): Promise<T> {
  const store = await clip.openStore(folder, { create: true })
  try {
    return await body(store)
  } finally {
    await store.close()
  }
}

async function contents(stage: Stage, name: string): Promise<string[]> {
  return using(stage, at(stage, name), async store => {
    const ids: string[] = []
    for await (const id of store.ids()) ids.push(id)
    // Reads every vector and compares its checksum.
    let rows = 0
    for await (const batch of store.batches()) rows += batch.ids.length
    holds(rows === ids.length, `${rows} vectors of ${ids.length} items`)
    return ids
  })
}

/** What the store has reported to be on the disk. */
let acknowledged: string[] = []

const storeWith = (name: string, count: number) => async (stage: Stage) => {
  await remove(name)(stage)
  await using(stage, at(stage, name), store => store.add(items(0, count)))
  acknowledged = idsOf(0, count)
}

/** Every acknowledged item is there, and nothing that was never added. */
async function nothingLost(stage: Stage, name: string, all: number): Promise<void> {
  const there = await contents(stage, name)
  for (const id of acknowledged) holds(there.includes(id), `acknowledged item ${id} is lost`)
  holds(isDeepStrictEqual(there, idsOf(0, there.length)), `the store holds ${there}`)
  await using(stage, at(stage, name), store => store.add(items(0, all)))
  holds(
    isDeepStrictEqual(await contents(stage, name), idsOf(0, all)),
    'adding again does not complete the store',
  )
}

const storeAdd: SystemAction = {
  renew: storeWith('grown', 3),
  run: stage =>
    using(stage, at(stage, 'grown'), async store => {
      for (const [from, to] of [
        [3, 7],
        [7, 9],
      ] as const) {
        await store.add(items(from, to))
        acknowledged.push(...idsOf(from, to))
      }
      return store.size
    }),
  after: stage => nothingLost(stage, 'grown', 9),
}

const storeCreate: SystemAction = {
  async renew(stage) {
    await remove('new')(stage)
    acknowledged = []
  },
  run: stage =>
    using(stage, at(stage, 'new'), async store => {
      await store.add(items(0, 2))
      acknowledged = idsOf(0, 2)
      return store.size
    }),
  after: stage => nothingLost(stage, 'new', 2),
}

const storeCompact: SystemAction = {
  async renew(stage) {
    await storeWith('compacted', 5)(stage)
  },
  run: stage =>
    using(stage, at(stage, 'compacted'), async store => {
      await store.compact()
      return store.size
    }),
  after: stage => nothingLost(stage, 'compacted', 5),
}

const storeMerge: SystemAction = {
  async prepare(stage) {
    await storeWith('part', 6)(stage)
  },
  renew: storeWith('merged', 3),
  run: stage =>
    using(stage, at(stage, 'merged'), store =>
      using(stage, at(stage, 'part'), async part => {
        await store.merge(part)
        acknowledged = idsOf(0, 6)
        return store.size
      }),
    ),
  after: stage => nothingLost(stage, 'merged', 6),
}

let exported: Buffer | undefined
const storeExport: SystemAction = {
  prepare: storeWith('exported', 5),
  run: stage => using(stage, at(stage, 'exported'), store => store.export(at(stage, 'export.npy'))),
  async after(stage) {
    await storeExport.run(stage)
    const now = await readFile(at(stage, 'export.npy'))
    exported ??= now
    holds(now.equals(exported), 'the export is another')
  },
}

let files: Record<string, HubFile> | undefined
let endpoint = ''
const download: SystemAction = {
  async prepare() {
    files = tinyRepo()
    const server = createServer((request, response) => {
      if (!answerHub(request, response, 'someone/tiny-clip', files!)) response.writeHead(404).end()
    })
    await new Promise<void>(listening => server.listen(0, '127.0.0.1', listening))
    server.unref()
    endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  },
  renew: remove('downloads'),
  async run(stage) {
    const cacheDir = at(stage, 'downloads')
    const env = { HOME: stage.folder, HF_ENDPOINT: endpoint }
    return resolveName('someone/tiny-clip', { cacheDir, env, retryDelay: 1, retries: 2 })
  },
  async after(stage) {
    const folder = (await download.run(stage)) as string
    const read = await readFile(join(folder, 'model.safetensors'))
    holds(read.equals(files!['model.safetensors']!.content), 'the downloaded file is another')
  },
}

const packedFirst: SystemAction = {
  renew: remove('packed-first'),
  run: async stage => {
    const clip = await load(stage.model, { packCache: true, cacheDir: at(stage, 'packed-first'), threads: 2 })
    const { data } = await clip.encodeText('a cat')
    await clip.dispose()
    return data
  },
}

/** A saved file that is there already is replaced by a whole one or stays. */
const saveClassifier: SystemAction = {
  async renew(stage) {
    await mkdir(stage.folder, { recursive: true })
    await (await stage.clip.classifier(['old'])).save(at(stage, 'saved.safetensors'))
  },
  async run(stage) {
    const labels = ['cat', 'dog']
    await (await stage.clip.classifier(labels)).save(at(stage, 'saved.safetensors'))
    return labels
  },
  async after(stage) {
    const { labels } = await stage.clip.loadClassifier(at(stage, 'saved.safetensors'))
    const said = labels.join()
    holds(said === 'old' || said === 'cat,dog', `the saved classifier has the labels ${said}`)
    await saveClassifier.run(stage)
  },
}

const image: SystemAction = {
  prepare: stage => cp(join(packageRoot, 'models/icon-clip/examples/dog.png'), at(stage, 'dog.png')),
  run: async stage => (await stage.clip.encodeImage(at(stage, 'dog.png'))).data,
}

const ownVocabulary: SystemAction = {
  async prepare(stage) {
    for (const name of ['config.json', 'merges.txt', 'model.safetensors', 'preprocessor_config.json'])
      await cp(join(packageRoot, 'models/icon-clip', name), join(at(stage, 'icons'), name))
    for (const name of ['tokenizer_config.json', 'vocab.json'])
      await cp(join(packageRoot, 'models/icon-clip', name), join(at(stage, 'icons'), name))
  },
  run: stage => actions['load float32']!.run({ ...stage, model: at(stage, 'icons') }),
}

/** What sharp decodes, and the caller's own sharp. system.test.ts writes the files. */
export const decoded = [
  'image.png',
  'image.jpg',
  'image.webp',
  'image.gif',
  'image.tiff',
  'image.avif',
  'image.svg',
]
const decoding = (name: string): SystemAction => {
  let bytes: Buffer
  return {
    async prepare(stage) {
      bytes = await readFile(join(stage.folder, '..', name)) // which starts libuv's threads
    },
    run: () => decodeImage(bytes, { svg: true }),
  }
}
let ownBytes: Buffer
const ownSharp: SystemAction = {
  async prepare(stage) {
    ownBytes = await readFile(join(stage.folder, '..', 'image.png'))
  },
  run: () => decodeImage(sharp(ownBytes)),
}

export const decodeActions: Record<string, SystemAction> = {
  ...Object.fromEntries(decoded.map(name => [`decode ${name}`, decoding(name)])),
  "decode the caller's sharp": ownSharp,
}

export const systemActions: Record<string, SystemAction> = {
  'load float32': actions['load float32']!,
  'load bfloat16': actions['load bfloat16']!,
  'load int8': actions['load int8']!,
  'load with a vocabulary': ownVocabulary,
  'load with packCache, first': packedFirst,
  'load with packCache, again': actions['load with packCache, again']!,
  download,
  'encodeImage of a file': image,
  encodeImage: actions.encodeImage!,
  encodeText: actions.encodeText!,
  linearProbe: actions.linearProbe!,
  linear: actions.linear!,
  cosineTopK: actions.cosineTopK!,
  openMatrix: actions.openMatrix!,
  'classifier.save': saveClassifier,
  'a classifier, loaded': {
    prepare: async stage => {
      await (await stage.clip.classifier(['cat', 'dog'])).save(at(stage, 'kept.safetensors'))
    },
    run: async stage => (await stage.clip.loadClassifier(at(stage, 'kept.safetensors'))).labels,
  },
  'store, create': storeCreate,
  'store, add': storeAdd,
  'store, search': actions['store, search']!,
  'store, compact': storeCompact,
  'store, export': storeExport,
  'store, merge': storeMerge,
}
