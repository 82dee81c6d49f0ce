// ws, with bufferutil, which it takes if it is installed.
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { BLOCK_LENGTH, BROADCAST, blocked, listening, MAX_PAYLOAD, PAGE, PORT } from './support.mjs'

const http = createServer((_request, response) => {
  response.setHeader('content-type', 'text/html')
  response.end(PAGE)
})
const server = new WebSocketServer({ server: http, perMessageDeflate: false, maxPayload: MAX_PAYLOAD })

server.on('connection', (socket) => {
  // A reset is an error here; the socket is closed then anyway.
  socket.on('error', () => {})
  socket.on('message', (data, isBinary) => {
    if (!isBinary && data.length === BLOCK_LENGTH && blocked(data.toString())) {
      socket.send('done')
    } else if (BROADCAST) {
      for (const client of server.clients) {
        if (client !== socket) client.send(data, { binary: isBinary })
      }
    } else {
      socket.send(data, { binary: isBinary })
    }
  })
})

http.listen({ port: PORT, host: '127.0.0.1', backlog: 4096 }, () => listening(http.address().port))
