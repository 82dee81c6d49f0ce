// Results as tables: for the terminal, and in Markdown for the docs.

import { LOADS, SHOWN } from './loads.mjs'
import { SERVERS } from './servers.mjs'

export function median(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b)
  if (sorted.length === 0) return Number.NaN
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** The rows of a load: each server's runs, summed up. `table` is `free` or `pinned`. */
export function rowsOf(results, load, table) {
  const { main, higher } = SHOWN[load.load]
  const rows = []
  for (const server of SERVERS) {
    const result = results.find((one) => one.load === load.id && one.table === table && one.server === server.id)
    if (result === undefined) continue
    const figures = (figure) => result.runs.map((run) => run[figure]).filter((value) => value !== undefined)
    const values = figures(main.figure)
    rows.push({
      server,
      values,
      failures: result.failures,
      value: median(values),
      min: Math.min(...values),
      max: Math.max(...values),
      other: (figure) => median(figures(figure)),
    })
  }
  const peers = rows.filter((row) => !row.server.ours && Number.isFinite(row.value)).map((row) => row.value)
  const best = higher ? Math.max(...peers) : Math.min(...peers)
  for (const row of rows) row.ratio = peers.length === 0 ? Number.NaN : row.value / best
  return rows
}

/** The cells of a load's table, the head first; undefined if it was not measured. */
function cellsOf(results, load, table) {
  const rows = rowsOf(results, load, table)
  if (rows.length === 0) return undefined
  const { main, others } = SHOWN[load.load]
  const tell = (column, value) => (Number.isFinite(value) ? column.tell(value) : '-')
  const head = ['server', main.head, 'min - max', 'of best peer', ...others.map((other) => other.head)]
  return [
    head,
    ...rows.map((row) => [
      row.server.name,
      row.failures > 0 && row.values.length === 0 ? 'failed' : tell(main, row.value),
      row.values.length === 0 ? '-' : `${tell(main, row.min)} - ${tell(main, row.max)}`,
      Number.isFinite(row.ratio) ? `${row.ratio.toFixed(row.ratio < 0.1 ? 3 : 2)} x` : '-',
      ...others.map((other) => tell(other, row.other(other.figure))),
    ]),
  ]
}

const padded = (cells) => {
  const widths = cells[0].map((_, index) => Math.max(...cells.map((row) => row[index].length)))
  return cells.map((row) =>
    row.map((cell, index) => (index === 0 ? cell.padEnd(widths[index]) : cell.padStart(widths[index]))),
  )
}

const direction = (load) => (SHOWN[load.load].higher ? 'higher is better' : 'lower is better')

/** All tables, for people at a terminal. */
export function text(results) {
  const parts = []
  for (const table of ['free', 'pinned']) {
    for (const load of LOADS) {
      const cells = cellsOf(results, load, table)
      if (cells === undefined) continue
      const pinned = table === 'pinned' ? ', the whole server on one core' : ''
      const lines = padded(cells).map((row) => `  ${row.join('  ')}`)
      parts.push(`${load.title}${pinned} (${direction(load)})\n${lines.join('\n')}`)
    }
  }
  return parts.join('\n\n')
}

/** One load's table, as it stands in the docs. */
export function markdown(results, id, table) {
  const load = LOADS.find((one) => one.id === id)
  const cells = load && cellsOf(results, load, table)
  if (cells === undefined) throw new Error(`there is no result for '${id}', ${table}`)
  const [head, ...rows] = padded(cells)
  const rule = head.map((cell, index) => (index === 0 ? '-'.repeat(cell.length) : `${'-'.repeat(cell.length - 1)}:`))
  return [head, rule, ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
}
