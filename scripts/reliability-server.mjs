// The server of scripts/reliability.mjs. Numbered messages must come in order, socket by socket; `block MS` holds the hook;
// `count N` is answered with N numbered messages, as fast as they are taken.
import process from 'node:process'
import { EventType, hook, runServer, SendStatus, send, stats } from '../index.js'

const next = new Map()
let [numbered, wrong] = [0, 0]

/** What is left to send, by socket. */
const counts = new Map()

/** Sends until a message is dropped; the socket's Drain goes on with that one. */
function goOn(uuid) {
  const count = counts.get(uuid)
  while (count.n < count.end) {
    if (send(uuid, EventType.Text, `n${count.n}`) !== SendStatus.Ok) {
      count.dropped += 1
      return
    }
    count.n += 1
  }
  counts.delete(uuid)
  // Not behind a full queue: it is tried until it is taken.
  const tell = () => send(uuid, EventType.Text, `dropped ${count.dropped}`) === SendStatus.Ok || setTimeout(tell, 10)
  tell()
}

hook((uuid, type, event) => {
  if (type === EventType.Close) {
    next.delete(uuid)
    counts.delete(uuid)
  }
  if (type === EventType.Drain && counts.has(uuid)) goOn(uuid)
  if (type !== EventType.Text) return
  if (event.data.startsWith('block ')) {
    const end = performance.now() + Number(event.data.slice(6))
    while (performance.now() < end);
  } else if (event.data.startsWith('count ')) {
    counts.set(uuid, { n: 0, end: Number(event.data.slice(6)), dropped: 0 })
    goOn(uuid)
  } else if (event.data.startsWith('n')) {
    const due = next.get(uuid) ?? 0
    if (Number(event.data.slice(1)) !== due) wrong += 1
    next.set(uuid, due + 1)
    numbered += 1
    // The hook stands still now and then: what comes meanwhile waits.
    if (numbered % 250_000 === 0) for (const end = performance.now() + 200; performance.now() < end; );
  } else if (event.data === 'result') {
    send(uuid, type, JSON.stringify({ numbered, wrong, discarded: stats().discarded }))
  } else {
    send(uuid, type, event)
  }
})

console.log(runServer('127.0.0.1', 0, { idleTimeout: 0 }).port)
process.stdin.resume().on('end', () => process.exit(0))
