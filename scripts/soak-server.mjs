// The server of soak.mjs under Node.js: it echoes, and collects garbage each second, so that what its memory grows by is what
// nobody gives up. V8 by itself grows for minutes before it finds its size.
import pocketsocket, { runServer, send } from '../index.js'

pocketsocket.hook((uuid, eventType, event) => {
  send(uuid, eventType, event)
})
const server = runServer('127.0.0.1', 0, { idleTimeout: 0 })
setInterval(globalThis.gc, 1000)
console.log(`listening ${server.port}`)
