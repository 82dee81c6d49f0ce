// Broadcast: tells everyone who connected, and passes each message on to all others.
//
// Run: node examples/broadcast.ts (Node.js >= 22.18; PORT=9000 for another port), and open http://127.0.0.1:8090 twice.

import pocketsocket, { type Hook } from 'pocketsocket'

const port = Number(process.env.PORT ?? 8090)

const broadcastReceiver: Hook = (uuid, eventType, event) => {
  if (eventType === 0) {
    // connect event
    pocketsocket.sendAll(1, `Connected:${uuid}`, uuid)
    return
  }
  // Send the message to everyone
  pocketsocket.sendAll(event.kind, event.data, uuid)
}

pocketsocket.hook(broadcastReceiver)

await pocketsocket.runBlockingServer('127.0.0.1', port)
