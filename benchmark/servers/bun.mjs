// Bun's own server. Sends inside of a handler are corked by itself.
import { BACKPRESSURE, BLOCK_LENGTH, BROADCAST, blocked, listening, MAX_PAYLOAD, PAGE, PORT } from './support.mjs'

const ALL = 'all'

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: PORT,
  fetch(request, server) {
    if (server.upgrade(request)) return
    return new Response(PAGE, { headers: { 'content-type': 'text/html' } })
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: MAX_PAYLOAD,
    backpressureLimit: BACKPRESSURE,
    idleTimeout: 0,
    open(socket) {
      if (BROADCAST) socket.subscribe(ALL)
    },
    message(socket, message) {
      if (typeof message === 'string' && message.length === BLOCK_LENGTH && blocked(message)) {
        socket.send('done')
      } else if (BROADCAST) {
        socket.publish(ALL, message)
      } else {
        socket.send(message)
      }
    },
  },
})
listening(server.port)
