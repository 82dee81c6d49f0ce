// The chat on one thread. With POCKETSOCKET_BROKER=redis://… or nats://… it is one of many nodes, on as many machines.
//
// Run: node examples/scale/thread.ts (Node.js >= 22.18; PORT=9000 for another port)

import pocketsocket from 'pocketsocket'
import './chat.ts'

const server = pocketsocket.runServer('127.0.0.1', Number(process.env.PORT ?? 8090))
console.log(`Serving on ${server.url}`)
