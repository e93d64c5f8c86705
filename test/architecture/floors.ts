/**
 * The floors of the house, written down once. A room is a folder, or a file that lies at the root beside the folders. A
 * room uses itself and the rooms on the floors below its own: never a neighbour on the same floor, never one above.
 * `test/architecture.test.ts` compares this with what the files include and import.
 */

/** From the ground floor up. Each floor: its rooms, and what each of them is for. */
export type Floors = readonly Readonly<Record<string, string>>[]

export const native: Floors = [
  {
    error: 'How native code reports a failure.',
    dtypes: 'How numbers are stored, and the formats of a matrix product.',
  },
  { backend: 'The contract between the model and the machine: the ops, and the table that a backend fills.' },
  {
    half: 'float16 and bfloat16 as bits.',
    resample: "The coefficients of Pillow's resize.",
    top_k: 'The best classes of a query, and their ranking.',
    profile: 'What each op of a model costs, for benchmarks.',
    backend_buffer: 'Memory of a backend for the length of a call.',
    libvips: 'JPEG at a fraction of its size, by the libvips that sharp has loaded.',
  },
  { threads: 'The thread pool of the process, and the context in which a CPU runs an op.' },
  {
    reference: 'The specification: every op in plain loops.',
    cpu: 'The ops in the vector instructions of x64 and arm64.',
  },
  { ops: 'Every op once: its cases, how far it may be from the reference, and its call from JavaScript.' },
  { cuda: "The ops on NVIDIA's GPUs, which are compared with the reference before they are first used." },
  { registry: 'The backends of this build, and the choice of one for this machine.' },
  {
    model: 'Checkpoints, weights, images and the two towers, as calls of ops.',
    learn: 'Training of classifiers and adapters on features, as calls of ops.',
    tokenizer: 'Vocabularies of files, and from texts to token ids as the original libraries do it.',
  },
  { queue: 'Calls wait here for a model and are run together.' },
  {
    binding:
      'The native surface: checks and converts what JavaScript gives, queues one job, settles its promise.',
  },
]

export const lib: Floors = [
  {
    base: 'What every room needs: errors, options, time slices, aborting, files and their names, facts about the package.',
  },
  {
    image: 'From a file, bytes, a stream or raw pixels to pixels that the image tower can be given.',
  },
  { native: 'The addon: its surface as types, its loader, its errors, and jobs that can be cancelled.' },
  { tokenizer: "From texts to token ids, for every kind of vocabulary that CLIP's models have." },
  {
    checkpoint: 'From the files of a model to what native code is told: sizes, and where each tensor lies.',
    kernels: 'The kernels that `clip-native/kernels` exports, one by one.',
    devices: 'What this machine can run on.',
  },
  {
    encode: 'Images and texts to embeddings: admission of calls, windows, results.',
    hub: 'From the name of a model to a folder on this machine: caches and downloads.',
  },
  {
    classifier: 'Labels, prompts and how they score images; similarity of images and texts.',
    store: 'Embeddings on disk: add, search, compact, merge and export.',
  },
  { learn: 'Classifiers and adapters that are learned from examples.' },
  { clip: 'The loaded model: the methods that users call.' },
  {
    load: 'From a source to a loaded model.',
    eval: 'Data sets, and how well a model does on them.',
  },
  { index: 'What `clip-native` exports.' },
  { cli: 'The command line.' },
]

/** The room of a file that lies under `root`: 'native/cpu/avx2.cc' and 'native/cpu/a/b.h' are in cpu, native/queue.cc in queue. */
export const roomOf = (root: string, file: string): string =>
  file.slice(root.length + 1).replace(/(\/|\.[^/]*$).*/, '')

/** What breaks the floors: uses that do not go down, rooms that are not written down, and rooms that no file is in. */
export function breachesOf(
  root: string,
  floors: Floors,
  files: readonly string[],
  uses: readonly (readonly [user: string, used: string])[],
): string[] {
  const floorOf = new Map(floors.flatMap((rooms, floor) => Object.keys(rooms).map(room => [room, floor])))
  const rooms = new Set(files.map(file => roomOf(root, file)))
  const breaches = [
    ...[...rooms].filter(room => !floorOf.has(room)).map(room => `${root}: ${room} is on no floor`),
    ...[...floorOf.keys()].filter(room => !rooms.has(room)).map(room => `${root}: ${room} is empty`),
  ]
  for (const [user, used] of uses) {
    const [from, to] = [user, used].map(file => roomOf(root, file)) as [string, string]
    if (from !== to && !(floorOf.get(to)! < floorOf.get(from)!)) breaches.push(`${user} uses ${used}`)
  }
  return breaches
}
