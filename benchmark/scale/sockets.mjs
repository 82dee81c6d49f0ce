// 100,000 sockets on one machine: six server processes behind one port, six client processes, and one broadcast that reaches
// all of them. A process may have 20,000 files open here, so there are six of each; a client's address has 28,000 ports by
// default, and the system is slow to find one once half of them are taken, so each client process has two addresses of its own,
// 127.0.1.11 to 127.0.1.16 and 127.0.1.21 to 127.0.1.26. Ports of an earlier run are free again after a minute.
//
// POCKETSOCKET_BROKER=redis://127.0.0.1:6379 (or nats://) makes one application of the six: one call of `sendAll` reaches all.
// Without it each process has to be told. Linux, 3 GB of free memory. Run:
//   npm run build && node benchmark/scale/sockets.mjs
// SOCKETS=6000 for a smaller one.
import { once } from 'node:events'
import { program } from './support.mjs'

const PROCESSES = 6
const SOCKETS = Number(process.env.SOCKETS ?? 100_000)
const TEXT = 'x'.repeat(64)
const MESSAGES = 5
const broker = process.env.POCKETSOCKET_BROKER
const MB = 1e6

const nodes = []
let PORT = '0'
for (let n = 0; n < PROCESSES; n++) {
  const node = program('node', { PORT })
  const [{ port }] = await once(node.child, 'message')
  PORT = String(port)
  nodes.push(node)
}
const figures = () => Promise.all(nodes.map((node) => node.ask({ stats: true })))
const total = (all, of) => all.reduce((sum, each) => sum + of(each), 0)
const empty = await figures()

const loads = Array.from({ length: PROCESSES }, () => program('client'))
const start = performance.now()
await Promise.all(
  loads.map((load, n) => {
    const count = Math.floor(SOCKETS / PROCESSES) + (n < SOCKETS % PROCESSES ? 1 : 0)
    return load.ask({
      open: { count, port: Number(PORT), localAddresses: [`127.0.1.${11 + n}`, `127.0.1.${21 + n}`], atOnce: 32 },
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

for (let n = 0; n < MESSAGES; n++) {
  const all = Promise.all(loads.map((load) => load.ask({ expect: { each: TEXT.length + 2 } })))
  const before = performance.now()
  const senders = broker ? nodes.slice(0, 1) : nodes
  await Promise.all(senders.map((node) => node.ask({ sendAll: TEXT })))
  const told = await all
  const got = total(told, (load) => load.got)
  console.log(`broadcast ${n + 1}: ${got} sockets have it after ${Math.round(performance.now() - before)} ms`)
  if (got !== SOCKETS) throw new Error(`${SOCKETS - got} sockets did not get it`)
}
process.exit(0)
