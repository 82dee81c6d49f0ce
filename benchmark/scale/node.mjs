// One of the server processes of sockets.mjs and brokers.mjs: nobody hooks, it does what its parent says.
import { clients, hook, publish, runServer, sendAll, stats, subscribe, topics, unsubscribe } from '../../index.js'
import { now } from './support.mjs'

hook(null)
const broker = process.env.POCKETSOCKET_BROKER
const server = runServer('127.0.0.1', Number(process.env.PORT), {
  reusePort: true,
  // They only wait: nothing should ping them while 100,000 open.
  idleTimeout: 0,
  pingInterval: 0,
  ...(broker ? { broker } : {}),
})
/** What is being published: topics in turn, each message with its number. */
let job
let next = 0
let credit = 0

function goOn() {
  const { topics, bytes, digits } = job
  const letters = 'm'.repeat(bytes - digits)
  for (; next < credit; next++) publish(topicName(next % topics), 1, letters + String(next).padStart(digits, '0'))
}

const topicName = (n) => `topic-${n}`

process.on('message', (order) => {
  if (order.credit) {
    credit = order.credit
    if (job) goOn()
  } else if (order.sendAll) {
    const at = now()
    process.send({ status: sendAll(1, order.sendAll), at })
  } else if (order.stats) {
    const { connections, broker } = stats()
    process.send({ connections, broker, rss: process.memoryUsage.rss() })
  } else if (order.join) {
    // The sockets share the topics out, and leave those they were in.
    const all = clients()
    for (const [at, uuid] of all.entries()) {
      for (const topic of topics(uuid)) unsubscribe(uuid, topic)
      for (let n = at; n < order.join.topics; n += all.length) subscribe(uuid, topicName(n))
    }
    process.send({ joined: true })
  } else if (order.probe) {
    const { topics, bytes, digits } = order.probe
    for (let n = 0; n < topics; n++)
      publish(topicName(n), 1, 'p'.repeat(bytes - digits) + String(n).padStart(digits, '0'))
    process.send({ probed: true })
  } else if (order.publish) {
    job = order.publish
    next = 0
    credit = job.credit
    goOn()
  } else if (order.stop) {
    job = undefined
    process.send({ published: next })
  }
})
// The script has died.
process.once('disconnect', () => process.exit(1))
process.send({ port: server.port })
