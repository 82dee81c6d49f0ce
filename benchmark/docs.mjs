// Keeps the tables of docs/performance.md equal to benchmark/results.json: between `<!-- results: LOAD -->`, or
// `<!-- results: LOAD pinned -->`, and `<!-- /results -->` stands what was measured. `--check` fails if it does not.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { chart } from './lib/chart.mjs'
import { CHART, RESULTS, ROOT } from './lib/paths.mjs'
import { markdown } from './lib/tables.mjs'

const PAGE = join(ROOT, 'docs/performance.md')

const all = JSON.parse(readFileSync(RESULTS, 'utf8'))
const page = readFileSync(PAGE, 'utf8')
const right = page.replace(
  /(<!-- results: ([\w-]+)( pinned)? -->\n)[\s\S]*?(\n<!-- \/results -->)/g,
  (_, begin, load, pinned, end) => `${begin}${markdown(all.results, load, pinned ? 'pinned' : 'free')}${end}`,
)

if (!process.argv.includes('--check')) {
  writeFileSync(PAGE, right)
  writeFileSync(CHART, chart(all))
} else if (right !== page || readFileSync(CHART, 'utf8') !== chart(all)) {
  console.error('docs/performance.md or .svg differs from benchmark/results.json: run node benchmark/docs.mjs')
  process.exitCode = 1
}
