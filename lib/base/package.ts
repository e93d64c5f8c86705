/** Facts about this package: where it lies, and its version. */

import { join } from 'node:path'

/**
 * The package's root folder: this file lies in its dist/lib/base. Paths of what else is in the package are written with
 * __dirname and a literal where they are used, because that is what tracers of files (Next.js, @vercel/nft) understand.
 */
export const packageRoot = join(__dirname, '..', '..', '..')
/** The version of this package. */
export const version: string = (require('../../../package.json') as { version: string }).version
