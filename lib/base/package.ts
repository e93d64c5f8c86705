/** The location and the version of this package. */

import { join } from 'node:path'

/**
 * The root folder of the package, which contains this file as dist/lib/base. Code that needs another file of the package
 * writes its path as __dirname and a literal, because file tracers (Next.js, @vercel/nft) recognise only that form.
 */
export const packageRoot = join(__dirname, '..', '..', '..')
/** The version of this package. */
export const version: string = (require('../../../package.json') as { version: string }).version
