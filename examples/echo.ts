// Echo: sends each message back to where it came from.
//
// Run: node examples/echo.ts (Node.js >= 22.18; PORT=9000 for another port), and open http://127.0.0.1:8090.

import pocketsocket, { type Hook } from 'pocketsocket'

const port = Number(process.env.PORT ?? 8090)

const echoReceiver: Hook = (uuid, eventType, event) => {
  // A Connect or a Close is no message: sending it on sends nothing.
  pocketsocket.send(uuid, eventType, event)
}

pocketsocket.hook(echoReceiver)

await pocketsocket.runBlockingServer('127.0.0.1', port)
