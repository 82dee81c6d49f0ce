// 100,000 sockets on one machine: six server processes behind one port, six client processes, and broadcasts that reach all
// of them. A process may have 20,000 files open here, so there are six of each; a client's address has 28,000 ports by
// default, and the system is slow to find one once half of them are taken, so each client process has two addresses of its own,
// 127.0.x.11 to 127.0.x.16 and 127.0.x.21 to 127.0.x.26. Ports of an earlier run are free again after a minute, so x is another
// one each time.
//
// `--broker redis` or `--broker nats` starts one, on a free port, which makes one application of the six: one call of `sendAll`
// in one process reaches all. Without it each process has to be told. Linux, 3 GB of free memory. Run:
//   npm run build && node benchmark/scale/sockets.mjs [--broker redis|nats]
// SOCKETS=6000 for a smaller one. It ends by itself, and takes half a minute.
import { setTimeout as sleep } from 'node:timers/promises'
import { argument, endAfter, median, program, startBroker } from './support.mjs'

const PROCESSES = 6
const SOCKETS = Number(process.env.SOCKETS ?? 100_000)
const BYTES = 64
const MESSAGES = 5
const MB = 1e6
const NET = `127.0.${1 + Math.floor(Math.random() * 254)}`

endAfter(180)
const kind = argument('broker')
const broker = kind === undefined ? undefined : await startBroker(kind)
const nodes = []
let PORT = '0'
for (let n = 0; n < PROCESSES; n++) {
  const node = program('node', { PORT, POCKETSOCKET_BROKER: broker?.url ?? '' })
  const { port } = await node.said()
  PORT = String(port)
  nodes.push(node)
}
const figures = () => Promise.all(nodes.map((node) => node.ask({ stats: true })))
const total = (all, of) => all.reduce((sum, each) => sum + of(each), 0)
const empty = await figures()

const loads = Array.from({ length: PROCESSES }, () => program('client'))
const askLoads = (order) => Promise.all(loads.map((load) => load.ask(order)))
const start = performance.now()
await Promise.all(
  loads.map((load, n) => {
    const count = Math.floor(SOCKETS / PROCESSES) + (n < SOCKETS % PROCESSES ? 1 : 0)
    return load.ask({
      open: {
        count,
        port: Number(PORT),
        localAddresses: [`${NET}.${11 + n}`, `${NET}.${21 + n}`, `${NET}.${31 + n}`, `${NET}.${41 + n}`],
        atOnce: 32,
      },
    })
  }),
)
const opened = performance.now() - start
const full = await figures()
console.log(`${total(full, (node) => node.connections)} sockets open after ${(opened / 1000).toFixed(1)} s`)
console.log(`by process: ${full.map((node) => node.connections).join(', ')}`)
const bytes = (total(full, (node) => node.rss) - total(empty, (node) => node.rss)) / SOCKETS
console.log(
  `memory of the servers: ${Math.round(total(empty, (node) => node.rss) / MB)} MB empty, ${Math.round(bytes)} bytes a socket more`,
)

const senders = broker ? nodes.slice(0, 1) : nodes
const times = []
for (let n = 1; n <= MESSAGES; n++) {
  // Numbered, so that one which came twice is not taken for the next.
  const text = String(n).padStart(BYTES, 'x')
  const all = askLoads({ expect: { text } })
  const sent = await Promise.all(senders.map((node) => node.ask({ sendAll: text })))
  const last = Math.max(...(await all).map(({ at }) => at))
  const ms = (last - Math.min(...sent.map(({ at }) => at))) / 1000
  times.push(ms)
  // What comes late would be too much.
  await sleep(500)
  const told = await askLoads({ tally: { each: BYTES + 2 } })
  const got = total(told, (load) => load.got)
  const wrong = total(told, (load) => load.wrong + load.ended)
  console.log(`broadcast ${n}: ${got} sockets got it exactly once, the last after ${Math.round(ms)} ms`)
  if (got !== SOCKETS || wrong > 0)
    throw new Error(`${SOCKETS - got} sockets did not get it once; wrong or ended: ${wrong}`)
}
console.log(`sent by ${senders.length} of ${PROCESSES} processes; median ${Math.round(median(times))} ms`)
if (broker) {
  const after = await figures()
  const of = (name) => after.map((node) => node.broker[name]).join(', ')
  console.log(`broker ${kind}, by process: sent ${of('sent')}; received ${of('received')}; dropped ${of('dropped')}`)
  if (total(after, (node) => node.broker.dropped + node.broker.gaps) > 0) throw new Error('the broker lost some')
}
// The system takes a while to close so many, which a next run would feel.
await Promise.all([...loads, ...nodes].map(({ kill }) => kill()))
await broker?.kill()
process.exit(0)
