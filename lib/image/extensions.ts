/** The one list of names that images have: for folders, archives and whatever else chooses files by their names. */

/**
 * Without the dot, in lower case. A name says what a file should be, not whether it can be decoded: an .heic is an
 * image whose error says what to do, where a file that is left out would say nothing.
 */
export const pictureExtensions: ReadonlySet<string> = new Set([
  ...['jpg', 'jpeg', 'jpe', 'jfif', 'jif', 'jfi', 'pjpeg', 'pjp', 'png', 'apng', 'webp', 'gif', 'bmp', 'dib'],
  ...['tif', 'tiff', 'avif', 'avifs', 'heic', 'heif', 'heics', 'heifs', 'hif', 'svg', 'svgz'],
])

/** What follows the last dot of a file's name, in lower case; empty where there is none. */
export function extensionOf(name: string): string {
  const base = name.slice(name.lastIndexOf('/') + 1)
  const dot = base.lastIndexOf('.')
  return dot < 0 ? '' : base.slice(dot + 1).toLowerCase()
}

/**
 * Whether a file of this name, a path or its last part, is taken for an image: .jpg, .jpeg, .jpe, .jfif, .png, .webp,
 * .gif, .bmp, .tif, .tiff, .avif, .heic, .heif, .svg and their variants, in capitals too.
 */
export const isImageName = (name: string): boolean => pictureExtensions.has(extensionOf(name))
