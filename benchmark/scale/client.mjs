// A load client that costs little: bare TCP sockets, one prepared frame, answers counted by their bytes. A process of its
// own, told what to do by its parent: { open }, { echo }, { expect }, { tally }.
import { connect } from 'node:net'
import { cpuOf, HANDSHAKE, now } from './support.mjs'

/** A masked text of 16 bytes, with a mask of zeros. Its echo has no mask: 18 bytes. */
const FRAME = Buffer.concat([Buffer.from([0x81, 0x90, 0, 0, 0, 0]), Buffer.alloc(16, 'x')])
const ECHO = 18

const sockets = []
let bytes = 0
let ended = 0
/** Bytes that were not those expected. */
let wrong = 0
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
        if (rest > 0) reject(new Error('more than the handshake'))
        return
      }
      bytes += data.length
      socket.seen += data.length
      onBytes(socket, data)
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
      const { window, ms, pids = [] } = order.echo
      const cpu = () => pids.reduce((sum, pid) => sum + cpuOf(pid), 0)
      bytes = 0
      let going = true
      onBytes = (socket, data) => {
        if (!going) return
        socket.owed = (socket.owed ?? 0) + data.length
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
      const cpuBefore = cpu()
      await new Promise((resolve) => setTimeout(resolve, ms))
      const echoes = bytes / ECHO
      const rate = echoes / ((performance.now() - start) / 1000)
      const used = cpu() - cpuBefore
      going = false
      process.send({ rate, cpu: used / echoes, ended })
    } else if (order.expect) {
      // Until as many bytes came as each socket is to get: so many times this text. What each got tells { tally }.
      const { text, times = 1 } = order.expect
      const frame = Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)])
      const total = frame.length * times * sockets.length
      let done = false
      onBytes = (socket, data) => {
        let at = (socket.seen - data.length) % frame.length
        for (let from = 0; from < data.length; ) {
          const length = Math.min(frame.length - at, data.length - from)
          if (data.compare(frame, at, at + length, from, from + length) !== 0) wrong += length
          from += length
          at = 0
        }
        if (bytes < total || done) return
        done = true
        process.send({ at: now() })
      }
    } else if (order.tally) {
      // How many sockets got this many bytes, neither less nor more.
      const { each } = order.tally
      process.send({ got: sockets.filter((socket) => socket.seen === each).length, wrong, ended })
      bytes = 0
      wrong = 0
      for (const socket of sockets) socket.seen = 0
    }
  } catch (error) {
    process.send({ error: error.message })
  }
})
// The script has died.
process.once('disconnect', () => process.exit(1))
