// A load client that costs little: bare TCP sockets, one prepared frame, answers counted by their bytes. A process of its
// own, told what to do by its parent: { open }, { echo }, { expect }.
import { connect } from 'node:net'

const HANDSHAKE =
  'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
/** A masked text of 16 bytes, with a mask of zeros. Its echo has no mask: 18 bytes. */
const FRAME = Buffer.concat([Buffer.from([0x81, 0x90, 0, 0, 0, 0]), Buffer.alloc(16, 'x')])
const ECHO = 18

const sockets = []
let bytes = 0
let ended = 0
let onBytes = () => {}

/** One socket; resolves when it is upgraded. */
function open(port, localAddress) {
  return new Promise((resolve, reject) => {
    let head = ''
    const socket = connect({ port, host: '127.0.0.1', ...(localAddress ? { localAddress } : {}) })
    socket.setNoDelay(true)
    socket.once('error', reject)
    socket.once('connect', () => socket.write(HANDSHAKE))
    socket.on('close', () => ended++)
    socket.on('data', (data) => {
      if (head !== null) {
        head += data.toString('latin1')
        const end = head.indexOf('\r\n\r\n')
        if (end < 0) return
        if (!head.startsWith('HTTP/1.1 101')) reject(new Error(head.split('\r\n')[0]))
        const rest = head.length - end - 4
        head = null
        socket.index = sockets.push(socket) - 1
        socket.seen = 0
        resolve()
        if (rest === 0) return
        bytes += rest
        socket.seen += rest
        return
      }
      bytes += data.length
      socket.seen += data.length
      onBytes(socket, data.length)
    })
  })
}

process.on('message', async (order) => {
  try {
    if (order.open) {
      const { count, port, localAddresses = [undefined], atOnce = 64 } = order.open
      let left = count
      const one = async () => {
        while (left-- > 0) await open(port, localAddresses[left % localAddresses.length])
      }
      await Promise.all(Array.from({ length: atOnce }, one))
      process.send({ opened: sockets.length })
    } else if (order.echo) {
      // Each socket keeps so many messages on their way.
      const { window, ms } = order.echo
      bytes = 0
      let going = true
      onBytes = (socket, length) => {
        if (!going) return
        socket.owed = (socket.owed ?? 0) + length
        const answered = Math.floor(socket.owed / ECHO)
        socket.owed -= answered * ECHO
        if (answered > 0) socket.write(Buffer.concat(Array(answered).fill(FRAME)))
      }
      const first = Buffer.concat(Array(window).fill(FRAME))
      for (const socket of sockets) socket.write(first)
      // The first second warms up.
      await new Promise((resolve) => setTimeout(resolve, 1000))
      bytes = 0
      const start = performance.now()
      await new Promise((resolve) => setTimeout(resolve, ms))
      const rate = bytes / ECHO / ((performance.now() - start) / 1000)
      going = false
      process.send({ rate, ended })
    } else if (order.expect) {
      // Until each socket was sent so many bytes.
      const { each } = order.expect
      const total = each * sockets.length
      const done = () => process.send({ got: sockets.filter((socket) => socket.seen === each).length, bytes, ended })
      const check = () => {
        if (bytes < total) return
        onBytes = () => {}
        done()
        bytes = 0
        for (const socket of sockets) socket.seen = 0
      }
      onBytes = check
      check()
    }
  } catch (error) {
    process.send({ error: error.message })
  }
})
