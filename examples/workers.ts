// Workers: every thread hooks the same server. Each socket belongs to one of them, and any of them may send to it.
//
// Run: node examples/workers.ts (Node.js >= 22.18; PORT=9000 for another port), and open http://127.0.0.1:8090 twice.

import { isMainThread, threadId, Worker } from 'node:worker_threads'
import pocketsocket from 'pocketsocket'

const port = Number(process.env.PORT ?? 8090)

if (isMainThread) {
  for (let count = 0; count < 3; count++) new Worker(new URL(import.meta.url))
  const server = pocketsocket.runServer('127.0.0.1', port)
  console.log(`Serving on ${server.url}`)
} else {
  pocketsocket.hook((uuid, eventType, event) => {
    if (eventType === 0) {
      pocketsocket.send(uuid, 1, `Howdy from worker ${threadId}`)
      return
    }
    pocketsocket.sendAll(event.kind, event.data, uuid)
  })
  console.log(`Worker ${threadId} is hooked`)
}
