// A message to 1,000 sockets: by `publish` to a topic that all are in, and by `sendAll`. CPU time of the server's process and
// time until the last socket has it. Run: npm run build && node benchmark/scale/publish.mjs
import { EventType, hook, publish, runServer, sendAll, shutdownServer, subscribe } from '../../index.js'
import { median, program } from './support.mjs'

const SOCKETS = 1000
const MESSAGES = 500
const ROUNDS = 9
const TEXT = 'x'.repeat(64)

const sockets = []
hook((uuid, type) => {
  if (type === EventType.Connect) sockets.push(uuid)
})
const server = runServer('127.0.0.1', 0)
const load = program('client')
await load.ask({ open: { count: SOCKETS, port: server.port } })
while (sockets.length < SOCKETS) await new Promise(setImmediate)
for (const uuid of sockets) subscribe(uuid, 'all of them')

const ways = {
  sendAll: () => sendAll(1, TEXT),
  publish: () => publish('all of them', 1, TEXT),
}
const figures = { sendAll: { cpu: [], time: [] }, publish: { cpu: [], time: [] } }
for (let round = -1; round < ROUNDS; round++) {
  for (const [name, send] of Object.entries(ways)) {
    const all = load.ask({ expect: { each: MESSAGES * (TEXT.length + 2) } })
    const cpu = process.cpuUsage()
    const start = performance.now()
    // In bursts, as an application would: one flush each.
    for (let n = 0; n < MESSAGES; n++) {
      send()
      if (n % 10 === 9) await new Promise(setImmediate)
    }
    const { got } = await all
    if (got !== SOCKETS) throw new Error(`${got} of ${SOCKETS} sockets got all`)
    const { user, system } = process.cpuUsage(cpu)
    // The first round warms up.
    if (round < 0) continue
    figures[name].cpu.push((user + system) / MESSAGES)
    figures[name].time.push(((performance.now() - start) * 1000) / MESSAGES)
  }
}
console.log(
  `${SOCKETS} sockets, ${TEXT.length} bytes, medians of ${ROUNDS} rounds of ${MESSAGES} messages, us a message`,
)
for (const [name, { cpu, time }] of Object.entries(figures)) {
  console.log(`${name}: ${median(cpu).toFixed(0)} CPU, ${median(time).toFixed(0)} until all have it`)
}
load.child.kill()
await shutdownServer({ timeout: 1000 })
process.exit(0)
