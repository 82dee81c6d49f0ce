// Deno's own server. It has no publish.
import { BLOCK_LENGTH, BROADCAST, blocked, listening, PAGE, PORT } from './support.mjs'

const clients = new Set()

Deno.serve({ hostname: '127.0.0.1', port: PORT, onListen: ({ port }) => listening(port) }, (request) => {
  if (request.headers.get('upgrade') !== 'websocket') {
    return new Response(PAGE, { headers: { 'content-type': 'text/html' } })
  }
  const { socket, response } = Deno.upgradeWebSocket(request, { idleTimeout: 0 })
  socket.binaryType = 'arraybuffer'
  socket.onopen = () => clients.add(socket)
  socket.onclose = () => clients.delete(socket)
  // A reset is an error here; the socket is closed then anyway.
  socket.onerror = () => {}
  socket.onmessage = ({ data }) => {
    if (typeof data === 'string' && data.length === BLOCK_LENGTH && blocked(data)) {
      socket.send('done')
    } else if (BROADCAST) {
      for (const client of clients) {
        if (client !== socket) client.send(data)
      }
    } else {
      socket.send(data)
    }
  }
  return response
})
