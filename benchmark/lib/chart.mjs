// The chart of docs/performance.md: a panel a load, a bar a server, a line from its slowest to its fastest round.

import { LOADS, SHOWN } from './loads.mjs'
import { rowsOf } from './tables.mjs'

const COLUMNS = 2
const PANEL = { width: 470, gap: 30, title: 34, bar: 18, space: 8, names: 190, values: 82 }
const HEAD = 50

const escaped = (text) => text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`)
const round = (value) => Number(value.toFixed(1))

/** The loads that have a scale worth a bar. */
const isShown = (load) => ['echo', 'broadcast', 'churn', 'idle'].includes(load.load)

/** The chart as SVG. */
export function chart({ results, date, commit, machine }) {
  const panels = LOADS.filter(isShown)
    .map((load) => ({ load, rows: rowsOf(results, load, 'free').filter((row) => Number.isFinite(row.value)) }))
    .filter(({ rows }) => rows.length > 0)
  const parts = []
  let top = HEAD
  for (let first = 0; first < panels.length; first += COLUMNS) {
    const line = panels.slice(first, first + COLUMNS)
    for (const [column, panel] of line.entries()) {
      parts.push(drawPanel(panel, PANEL.gap + column * (PANEL.width + PANEL.gap), top))
    }
    top += Math.max(...line.map(heightOf)) + PANEL.gap
  }
  const width = COLUMNS * PANEL.width + (COLUMNS + 1) * PANEL.gap
  const subtitle = `${date.slice(0, 10)}, ${commit.slice(0, 10)}, ${machine.cores} x ${machine.cpu}. Median of all rounds; the line spans them.`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${top}" width="${width}" height="${top}" role="img" aria-labelledby="title">
<title id="title">pocketsocket beside other WebSocket servers</title>
<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .page { fill: #ffffff } .head { font-size: 17px; font-weight: 600 } .panel { font-weight: 600 } .note { fill: #59636e }
  .ours { fill: #d9480f } .native { fill: #f4a261 } .peer { fill: #8c959f } .spread { stroke: #1f2328 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .page { fill: #0d1117 } .note { fill: #9198a1 } .peer { fill: #656c76 } .spread { stroke: #e6edf3 }
  }
</style>
<rect class="page" width="${width}" height="${top}"/>
<text class="head" x="${PANEL.gap}" y="24">pocketsocket beside other WebSocket servers</text>
<text class="note" x="${PANEL.gap}" y="42">${escaped(subtitle)}</text>
${parts.join('\n')}
</svg>
`
}

const heightOf = ({ rows }) => PANEL.title + rows.length * (PANEL.bar + PANEL.space)

function drawPanel({ load, rows }, left, top) {
  const { main, higher } = SHOWN[load.load]
  const most = Math.max(...rows.map((row) => row.max), 1e-9)
  const room = PANEL.width - PANEL.names - PANEL.values
  const scale = (value) => round((Math.max(value, 0) / most) * room)
  const bars = rows.map((row, index) => {
    const y = top + PANEL.title + index * (PANEL.bar + PANEL.space)
    const x = left + PANEL.names
    const middle = y + PANEL.bar / 2
    const kind = row.server.id === 'native' ? 'native' : row.server.ours ? 'ours' : 'peer'
    return [
      `<text x="${x - 8}" y="${middle + 4}" text-anchor="end">${escaped(row.server.name)}</text>`,
      `<rect class="${kind}" x="${x}" y="${y}" width="${scale(row.value)}" height="${PANEL.bar}" rx="2"/>`,
      `<line class="spread" x1="${x + scale(row.min)}" x2="${x + scale(row.max)}" y1="${middle}" y2="${middle}"/>`,
      `<text x="${x + scale(row.max) + 6}" y="${middle + 4}">${escaped(main.tell(row.value))}</text>`,
    ].join('\n')
  })
  const unit = `${main.head}, ${higher ? 'more' : 'less'} is better`
  return [
    `<text class="panel" x="${left}" y="${top + 12}">${escaped(load.title)}</text>`,
    `<text class="note" x="${left}" y="${top + 27}">${escaped(unit)}</text>`,
    ...bars,
  ].join('\n')
}
