// A message to 1,000 sockets: by `publish` to a topic that all are in, and by `sendAll`; first with no other topic, then with
// 10,000, each socket in 101 of them. CPU time of the server's process, and time until the last socket has it. Run:
//   npm run build && node benchmark/scale/publish.mjs
import { EventType, hook, publish, runServer, sendAll, shutdownServer, subscribe, unsubscribe } from '../../index.js'
import { endAfter, median, program } from './support.mjs'

const SOCKETS = 1000
const TOPICS = [1, 10_000]
/** Of the others: ten sockets in each topic. */
const EACH = 100
const MESSAGES = 500
const ROUNDS = 9
const TEXT = 'x'.repeat(64)

endAfter(300)
const sockets = []
hook((uuid, type) => {
  if (type === EventType.Connect) sockets.push(uuid)
})
const server = runServer('127.0.0.1', 0)
const load = program('client')
await load.ask({ open: { count: SOCKETS, port: server.port } })
while (sockets.length < SOCKETS) await new Promise(setImmediate)
for (const uuid of sockets) subscribe(uuid, 'all of them')

/** Sends so many and waits until all have them: CPU and time, microseconds a message. */
async function measure(send, messages) {
  const all = load.ask({ expect: { text: TEXT, times: messages } })
  const cpu = process.cpuUsage()
  const start = performance.now()
  // In bursts, as an application would: one flush each.
  for (let n = 0; n < messages; n++) {
    send()
    if (n % 10 === 9) await new Promise(setImmediate)
  }
  await all
  const time = ((performance.now() - start) * 1000) / messages
  const { user, system } = process.cpuUsage(cpu)
  const { got, wrong } = await load.ask({ tally: { each: messages * (TEXT.length + 2) } })
  if (got !== SOCKETS || wrong > 0) throw new Error(`${got} of ${SOCKETS} sockets got all, ${wrong} bytes were wrong`)
  return { cpu: (user + system) / messages, time }
}

const ways = {
  sendAll: () => sendAll(1, TEXT),
  publish: () => publish('all of them', 1, TEXT),
}
/** By number of topics and way. */
const figures = new Map()
const joins = []
for (let round = -1; round < ROUNDS; round++) {
  for (const topics of TOPICS) {
    const change = (what) => {
      const cpu = process.cpuUsage()
      for (const [at, uuid] of sockets.entries())
        for (let n = 0; n < EACH; n++) what(uuid, `other topic ${(at * EACH + n) % (topics - 1)}`)
      return cpu
    }
    const cpu = topics > 1 ? change(subscribe) : undefined
    // What was told to the server before has been done once this is there.
    await measure(ways.sendAll, 1)
    if (cpu && round >= 0) {
      const { user, system } = process.cpuUsage(cpu)
      joins.push((user + system) / (SOCKETS * EACH))
    }
    for (const [name, send] of Object.entries(ways)) {
      const key = `${name}, ${topics} topic${topics > 1 ? 's' : ''}`
      const { cpu, time } = await measure(send, MESSAGES)
      // The first round warms up.
      if (round < 0) continue
      if (!figures.has(key)) figures.set(key, { cpu: [], time: [] })
      figures.get(key).cpu.push(cpu)
      figures.get(key).time.push(time)
    }
    if (topics > 1) change(unsubscribe)
  }
}
console.log(
  `${SOCKETS} sockets, ${TEXT.length} bytes, medians of ${ROUNDS} rounds of ${MESSAGES} messages, us a message`,
)
for (const [name, { cpu, time }] of figures) {
  console.log(`${name}: ${median(cpu).toFixed(0)} CPU, ${median(time).toFixed(0)} until all have it`)
}
console.log(`a socket joins one of 10,000 topics: ${median(joins).toFixed(2)} us CPU`)
await load.kill()
await shutdownServer({ timeout: 1000 })
process.exit(0)
