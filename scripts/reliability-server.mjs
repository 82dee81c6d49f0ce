// The server of scripts/reliability.mjs. Numbered messages must come in order, socket by socket; `block MS` holds the hook.
import process from 'node:process'
import { EventType, hook, runServer, send, stats } from '../index.js'

const next = new Map()
let [numbered, wrong] = [0, 0]

hook((uuid, type, event) => {
  if (type === EventType.Close) next.delete(uuid)
  if (type !== EventType.Text) return
  if (event.data.startsWith('block ')) {
    const end = performance.now() + Number(event.data.slice(6))
    while (performance.now() < end);
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
