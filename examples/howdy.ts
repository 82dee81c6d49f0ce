// Howdy: greets each socket, and passes what it sends on to all others.
//
// Run: node examples/howdy.ts (Node.js >= 22.18; PORT=9000 for another port), and open http://127.0.0.1:8090 twice.

import pocketsocket, { type Hook } from 'pocketsocket'

const port = Number(process.env.PORT ?? 8090)

const ingress: Hook = (uuid, eventType, event) => {
  if (eventType === 0) {
    // connect event
    pocketsocket.send(uuid, 1, 'Howdy...')
    return
  }
  // broadcast the message to everyone, excluding the origin socket
  pocketsocket.sendAll(event.kind, event.data, uuid)
}

// Add a function to run.
pocketsocket.hook(ingress)
// start the server
await pocketsocket.runBlockingServer('127.0.0.1', port)
