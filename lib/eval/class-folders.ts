/** Reads a folder with a subfolder of images for each class. */

import { isUtf8 } from 'node:buffer'
import { stat } from 'node:fs/promises'
import { checkPath, nameOfPath, percentEncoded } from '../base/file-name.js'
import { type LeftOut, rootOf, Walk } from '../image/files.js'
import { datasetFault, type Reading, type Sample } from './samples.js'

const isFolder = (path: string) =>
  stat(checkPath('folder', path)).then(
    stats => stats.isDirectory(),
    () => false,
  )

/** Describes the first files that were left out. */
function some(leftOut: readonly LeftOut[]): string {
  const named = leftOut.slice(0, 3).map(({ path, message }) => `${path} ${message}`)
  const more = leftOut.length > named.length ? `, and ${leftOut.length - named.length} more` : ''
  return `${named.join(', ')}${more}`
}

/** A class without images is an error, because without it the other classes would look better than they are. */
function emptyClass(root: string, folder: string, leftOut: readonly LeftOut[]) {
  const why = leftOut.length > 0 ? `what is in it was left out: ${some(leftOut)}` : 'its folder is empty'
  return datasetFault(root, `class ${JSON.stringify(folder)} has no image: ${why}`)
}

export async function* classFolders(
  path: string | Buffer,
  { signal, followLinks, onLeftOut }: Reading,
): AsyncGenerator<Sample> {
  const root = rootOf(path)
  const rootName = nameOfPath(root)
  let here: LeftOut[] = []
  const inside = (of: Buffer) => of.subarray(root.length + (root.at(-1) === 0x2f ? 0 : 1))
  const walk = new Walk(
    root,
    {
      followLinks,
      onLeftOut: leftOut => {
        here.push(leftOut)
        onLeftOut(leftOut)
      },
      ...(signal ? { signal } : {}),
    },
    // Hidden folders and images beside the class folders are not part of the data set.
    (target, folder) => !target.startsWith('.') && (folder || target.includes('/')),
  )
  const entries = (await walk.entries(root)) ?? []
  for (const { path, reason } of here)
    if (reason === 'link' && (await isFolder(path)))
      throw datasetFault(
        rootName,
        `class folder ${path} is a link out of the data set, which is followed only with \`followLinks: true\``,
      )
  let classes = 0
  for (const entry of entries) {
    if (!entry.isFolder) walk.leaveOut(entry.path, 'place', 'is not in a class folder')
    else if (entry.name.startsWith('.')) walk.leaveOut(entry.path, 'place', 'is a hidden folder')
    else {
      if (!isUtf8(inside(entry.path)))
        throw datasetFault(
          rootName,
          `the name of its folder ${nameOfPath(entry.path)} is not UTF-8, so it can't be a label: rename it`,
        )
      const label = inside(entry.path).toString('utf8')
      here = []
      let found = false
      for await (const file of walk.images(entry.path, entry.byLink)) {
        found = true
        here = []
        const name = inside(file)
        yield {
          image: nameOfPath(file),
          label,
          name: isUtf8(name) ? name.toString('utf8') : percentEncoded(name),
        }
      }
      if (!found) throw emptyClass(rootName, label, here)
      classes++
    }
  }
  if (classes === 0)
    throw datasetFault(rootName, 'has no folders of images: expected one folder for each class')
}
