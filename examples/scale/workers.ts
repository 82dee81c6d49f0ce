// The chat on four worker threads, which share one server and its sockets.
//
// Run: node examples/scale/workers.ts (Node.js >= 22.18; PORT=9000 for another port)

import { once } from 'node:events'
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import pocketsocket from 'pocketsocket'

// chat.ts as a source, chat.js once it is compiled.
const chat = new URL(`chat${extname(import.meta.url)}`, import.meta.url)
const workers = Array.from({ length: 4 }, () => new Worker(chat))
await Promise.all(workers.map((worker) => once(worker, 'online')))
const server = pocketsocket.runServer('127.0.0.1', Number(process.env.PORT ?? 8090))
console.log(`Serving on ${server.url}`)
