// uWebSockets.js, from a copy on npm: its own releases are not there. Handlers are corked by itself.
import { createRequire } from 'node:module'
import { BACKPRESSURE, BLOCK_LENGTH, BROADCAST, blocked, listening, MAX_PAYLOAD, PAGE, PORT } from './support.mjs'

const uws = createRequire(import.meta.url)('@trufflesuite/uws-js-unofficial')
const ALL = 'all'

uws
  .App()
  .ws('/*', {
    compression: uws.DISABLED,
    maxPayloadLength: MAX_PAYLOAD,
    maxBackpressure: BACKPRESSURE,
    idleTimeout: 0,
    open(socket) {
      if (BROADCAST) socket.subscribe(ALL)
    },
    message(socket, message, isBinary) {
      if (!isBinary && message.byteLength === BLOCK_LENGTH && blocked(Buffer.from(message).toString())) {
        socket.send('done')
      } else if (BROADCAST) {
        socket.publish(ALL, message, isBinary)
      } else {
        socket.send(message, isBinary)
      }
    },
  })
  .get('/*', (response) => {
    response.writeHeader('content-type', 'text/html').end(PAGE)
  })
  .listen('127.0.0.1', PORT, (socket) => {
    if (!socket) throw new Error(`port ${PORT} cannot be listened on`)
    listening(uws.us_socket_local_port(socket))
  })
