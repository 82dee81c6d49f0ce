// Where things are.

import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** This folder, `benchmark`. */
export const HERE = dirname(dirname(fileURLToPath(import.meta.url)))
export const ROOT = dirname(HERE)

/** What a full run leaves behind, to be committed. */
export const RESULTS = join(HERE, 'results.json')
export const CHART = join(ROOT, 'docs/performance.svg')
/** Where other runs leave theirs; git does not see it. */
export const SCRATCH = join(ROOT, 'build/benchmark')
