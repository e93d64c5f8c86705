/** The file name extensions of images, for folders, archives and everything else that selects files by name. */

/**
 * Without the dot, in lower case. An extension in this list does not mean that the file can be decoded: an .heic file counts
 * as an image, because its error says what to do, and a file that is left out would go unnoticed.
 */
export const imageExtensions: ReadonlySet<string> = new Set([
  ...['jpg', 'jpeg', 'jpe', 'jfif', 'jif', 'jfi', 'pjpeg', 'pjp', 'png', 'apng', 'webp', 'gif', 'bmp', 'dib'],
  ...['tif', 'tiff', 'avif', 'avifs', 'heic', 'heif', 'heics', 'heifs', 'hif', 'svg', 'svgz'],
])

/** The extension of a file name in lower case, without the dot; empty if there is none. */
export function extensionOf(name: string): string {
  const base = name.slice(name.lastIndexOf('/') + 1)
  const dot = base.lastIndexOf('.')
  return dot < 0 ? '' : base.slice(dot + 1).toLowerCase()
}

/**
 * Whether a file of this name, a path or its last part, is taken for an image: .jpg, .jpeg, .jpe, .jfif, .png, .webp,
 * .gif, .bmp, .tif, .tiff, .avif, .heic, .heif, .svg and their variants, in capitals too.
 */
export const isImageName = (name: string): boolean => imageExtensions.has(extensionOf(name))
