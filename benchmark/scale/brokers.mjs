// What a broker carries as nodes and topics grow, for planning. One node publishes 64 bytes to topics in turn, every other node
// has a member in each topic, so each message goes to all of them. It starts the brokers, takes two and a half minutes, and ends by itself.
//
// The messages are numbered, and it is checked that they come in order, none missing and none twice. At most so many
// are on their way to the slowest node (`--window`, 1,000 unless given), so that nothing has to be dropped: with 1 each message
// travels alone, with many they share writes and wake-ups, which is what a busy node does. With 1 the publishing node is also told
// of each message that it came, by its parent, which is then most of its own figure.
//
// All of it runs on this one machine, so its cores bound the messages a second; a node and a broker with cores of their own
// take what their CPU time a message allows. It counts the whole process, of a receiving node with the message's way to its
// socket. Linux. Run:
//   npm run build && node benchmark/scale/brokers.mjs [--json file] [--window n] [--rounds n]
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { argument, cpuOf, endAfter, HANDSHAKE, median, program, startBroker } from './support.mjs'

const KINDS = ['redis', 'nats']
const NODES = [2, 3, 4]
const TOPICS = [1, 10, 100, 1000]
const ROUNDS = Number(argument('rounds', 3))
const WINDOW = Number(argument('window', 1000))
const MS = 1500
const WARM_UP_MS = 300
/** So many sockets a node share the topics out: one may be in 256. */
const SOCKETS = 4
const BYTES = 64
const FRAME = BYTES + 2
const DIGITS = 10

endAfter(120 * ROUNDS)

/** A receiving node with its sockets, which check what they get. */
class Receiver {
  received = 0
  probes = new Set()
  sockets = []

  constructor(node, onReceived) {
    this.node = node
    this.onReceived = onReceived
  }

  async open(port) {
    for (let n = 0; n < SOCKETS; n++) {
      const socket = connect(port, '127.0.0.1').setNoDelay(true)
      await new Promise((resolve, reject) => {
        socket.once('error', reject)
        socket.once('data', (head) => (head.includes(' 101 ') ? resolve() : reject(new Error('no handshake'))))
        socket.write(HANDSHAKE)
      })
      // Frames are of one length: what is left of one waits for the rest.
      let rest = Buffer.alloc(0)
      socket.on('data', (data) => {
        if (rest.length > 0) data = Buffer.concat([rest, data])
        let at = 0
        for (; at + FRAME <= data.length; at += FRAME) this.#take(n, data, at)
        rest = data.subarray(at)
        this.onReceived()
      })
      socket.once('close', () => {
        throw new Error('a socket has ended')
      })
      this.sockets.push(socket)
    }
  }

  /** From here on messages of so many topics, numbered from 0. */
  begin(topics) {
    this.received = 0
    this.probes.clear()
    /** By topic. */
    this.due = Array.from({ length: topics }, (_, topic) => topic)
    /** By socket. */
    this.last = this.sockets.map(() => -1)
  }

  #take(n, data, at) {
    if (data[at] !== 0x81 || data[at + 1] !== BYTES) throw new Error('not a frame that was sent')
    let number = 0
    for (let digit = at + FRAME - DIGITS; digit < at + FRAME; digit++) number = number * 10 + data[digit] - 48
    // A probe has another first letter, and its topic as its number.
    if (data[at + 2] === 0x70) {
      this.probes.add(number)
      return
    }
    const topic = number % this.due.length
    if (number !== this.due[topic] || number <= this.last[n])
      throw new Error(`${number} came to a socket instead of ${this.due[topic]}, after ${this.last[n]}`)
    this.due[topic] += this.due.length
    this.last[n] = number
    this.received++
  }
}

/** One broker with so many nodes: figures for each number of topics. */
async function measure(kind, count, figures) {
  const broker = await startBroker(kind)
  const nodes = []
  for (let n = 0; n < count; n++) {
    const node = program('node', { PORT: '0', POCKETSOCKET_BROKER: broker.url })
    node.port = (await node.said()).port
    nodes.push(node)
  }
  const [publisher, ...others] = nodes
  let slowest = 0
  let told = 0
  let onReceived = () => {}
  const receivers = others.map((node) => new Receiver(node, () => onReceived()))
  for (const receiver of receivers) await receiver.open(receiver.node.port)

  for (const topics of TOPICS) {
    for (const receiver of receivers) receiver.begin(topics)
    await Promise.all(others.map((node) => node.ask({ join: { topics } })))
    // A subscription counts once the broker has it, which nobody is told of.
    for (let n = 0; receivers.some(({ probes }) => probes.size < topics); n++) {
      if (n === 100) throw new Error('not all topics are heard')
      await publisher.ask({ probe: { topics, bytes: BYTES, digits: DIGITS } })
      await sleep(50)
    }
    slowest = told = 0
    onReceived = () => {
      slowest = Math.min(...receivers.map(({ received }) => received))
      // A few times a window: each order costs the publisher something, too.
      if (slowest - told < WINDOW / 4) return
      told = slowest
      publisher.tell({ credit: told + WINDOW })
    }
    publisher.tell({ publish: { topics, bytes: BYTES, digits: DIGITS, credit: WINDOW } })
    await sleep(WARM_UP_MS)
    const take = () => ({
      at: performance.now(),
      messages: slowest,
      publisher: cpuOf(publisher.pid),
      receiver: others.reduce((sum, node) => sum + cpuOf(node.pid), 0) / others.length,
      broker: cpuOf(broker.pid),
    })
    const before = take()
    await sleep(MS)
    const after = take()
    onReceived = () => {}
    const { published } = await publisher.ask({ stop: true })
    for (let n = 0; receivers.some(({ received }) => received < published); n++) {
      if (n === 500) throw new Error('not all that was published came')
      await sleep(10)
    }
    // What would come twice comes now.
    await sleep(20)
    if (receivers.some(({ received }) => received !== published)) throw new Error('more came than was published')
    const stats = await Promise.all(nodes.map((node) => node.ask({ stats: true })))
    const dropped = stats.reduce((sum, { broker }) => sum + broker.dropped, 0)
    if (stats.some(({ broker }) => broker.gaps > 0)) throw new Error('the connection to the broker broke')

    const messages = after.messages - before.messages
    const figure = figures[`${kind} ${count} ${topics}`]
    figure.rate.push(messages / ((after.at - before.at) / 1000))
    for (const who of ['publisher', 'receiver', 'broker']) figure[who].push((after[who] - before[who]) / messages)
    figure.dropped += dropped
  }
  for (const receiver of receivers) for (const socket of receiver.sockets) socket.removeAllListeners('close').destroy()
  for (const node of nodes) await node.kill()
  await broker.kill()
}

const figures = {}
for (const kind of KINDS)
  for (const nodes of NODES)
    for (const topics of TOPICS)
      figures[`${kind} ${nodes} ${topics}`] = {
        kind,
        nodes,
        topics,
        rate: [],
        publisher: [],
        receiver: [],
        broker: [],
        dropped: 0,
      }
for (let round = 0; round < ROUNDS; round++)
  for (const nodes of NODES) for (const kind of KINDS) await measure(kind, nodes, figures)

console.log(
  `${BYTES} bytes, up to ${WINDOW} on their way, ${availableParallelism()} cores; medians of ${ROUNDS} rounds of ${MS / 1000} s`,
)
const result = Object.values(figures).map(({ kind, nodes, topics, dropped, ...values }) => {
  const [rate, publisher, receiver, broker] = ['rate', 'publisher', 'receiver', 'broker'].map((name) =>
    median(values[name]),
  )
  return {
    broker: kind,
    nodes,
    topics,
    messagesPerSecond: rate,
    cpuMicroseconds: { publisher, receiver, broker },
    dropped,
  }
})
const topics = TOPICS.map((count) => count.toLocaleString('en')).join(' / ')
console.log(`In each cell: with ${topics} topics.`)
console.log('| broker | nodes | messages/s | publishing node, us CPU | a receiving node, us CPU | broker, us CPU |')
console.log('|---|---|---|---|---|---|')
for (const kind of KINDS)
  for (const nodes of NODES) {
    const row = result.filter((each) => each.broker === kind && each.nodes === nodes)
    const cell = (of) => row.map(of).join(' / ')
    const us = (who) => cell((each) => each.cpuMicroseconds[who].toFixed(1))
    // Three digits are what there is in it.
    const rate = cell((each) => Number(each.messagesPerSecond.toPrecision(3)).toLocaleString('en'))
    console.log(`| ${kind} | ${nodes} | ${rate} | ${us('publisher')} | ${us('receiver')} | ${us('broker')} |`)
  }
console.log(`dropped: ${result.reduce((sum, { dropped }) => sum + dropped, 0)}`)
const json = argument('json')
if (json !== undefined)
  writeFileSync(
    json,
    `${JSON.stringify({ bytes: BYTES, window: WINDOW, rounds: ROUNDS, cores: availableParallelism(), result }, null, 2)}\n`,
  )
process.exit(0)
