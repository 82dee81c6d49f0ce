// What a server's memory does under clients that flood and never read, or while its hook stands still; and whether messages
// keep their order through pauses and a slow link: node scripts/reliability.mjs [pings|unread|blocked|numbered|slow-reader]...
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { root } from './tools.mjs'

const HANDSHAKE =
  'GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'

/** A masked frame with a key of zeros, of up to 125 bytes. */
const frame = (first, payload) =>
  Buffer.concat([Buffer.from([first, 0x80 | payload.length, 0, 0, 0, 0]), Buffer.from(payload)])

async function open(port) {
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  socket.write(HANDSHAKE)
  await once(socket, 'data')
  return socket
}

/** Resolves once the system has taken the bytes, or will not. */
const write = (socket, bytes) => new Promise((resolve) => socket.write(bytes, () => resolve()))

/** Writes the block again and again, and reads nothing. */
async function flood(port, block, until) {
  const socket = await open(port)
  socket.pause()
  while (performance.now() < until && !socket.destroyed) {
    await Promise.race([write(socket, block), sleep(Math.max(0, until - performance.now()))])
  }
  socket.destroy()
}

const resident = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024

/** Resident memory at its highest, above what it was before. */
async function grown(pid, seconds, before) {
  let most = 0
  for (const end = performance.now() + seconds * 1000; performance.now() < end; await sleep(100)) {
    most = Math.max(most, resident(pid) - before)
  }
  return `+${most.toFixed(1)} MiB at most in ${seconds} s, from ${before.toFixed(1)} MiB`
}

async function flooded(server, block, seconds, before = resident(server.pid)) {
  const until = performance.now() + seconds * 1000
  const floods = Array.from({ length: 5 }, () => flood(server.port, block, until))
  const told = await grown(server.pid, seconds, before)
  await Promise.all(floods)
  return told
}

/** A link of 8 MB/s in pieces of 4 KB, which stands still for 100 ms now and then. */
async function slowLink(port) {
  const proxy = createServer(async (socket) => {
    const server = connect(port, '127.0.0.1').on('error', () => {})
    server.pipe(socket.on('error', () => {}))
    let pieces = 0
    for await (const chunk of socket) {
      for (let at = 0; at < chunk.length; at += 4096) {
        await write(server, chunk.subarray(at, at + 4096))
        pieces += 1
        if (pieces % 8 === 0) await sleep(pieces % 1000 === 0 ? 100 : 4)
      }
    }
    server.end()
  })
  await once(proxy.listen(0, '127.0.0.1'), 'listening')
  return proxy
}

async function numbers(port, count) {
  const socket = await open(port)
  socket.resume()
  for (let n = 0; n < count; ) {
    const frames = []
    for (const end = Math.min(count, n + 2000); n < end; n++) frames.push(frame(0x81, `n${n}`))
    await write(socket, Buffer.concat(frames))
  }
  return socket
}

const parts = {
  async 'slow-reader'(server) {
    const count = 1_000_000
    const socket = await open(server.port)
    socket.write(frame(0x81, `count ${count}`))
    let n = 0
    for await (const text of texts(socket)) {
      if (text.startsWith('dropped ')) {
        if (n !== count) throw new Error(`${count - n} messages are missing`)
        socket.destroy()
        return `${count} messages to a reader that pauses, none lost, none out of order; ${text} times, and sent after the Drain`
      }
      if (text !== `n${n}`) throw new Error(`${text} came in place of n${n}`)
      n += 1
      // While it waits here nothing is read, and the queues fill up to the sender.
      if (n % 100_000 === 0) await sleep(200)
    }
    throw new Error('the connection has ended')
  },
  pings: (server) => flooded(server, Buffer.concat(Array(500).fill(frame(0x89, 'p'.repeat(125)))), 8),
  unread: (server) => flooded(server, Buffer.concat(Array(500).fill(frame(0x81, 'x'.repeat(125)))), 8),
  async blocked(server) {
    const before = resident(server.pid)
    const blocker = await open(server.port)
    blocker.write(frame(0x81, 'block 30000'))
    const told = await flooded(server, Buffer.concat(Array(500).fill(frame(0x81, 'x'.repeat(125)))), 30, before)
    blocker.destroy()
    return told
  },
  async numbered(server) {
    const [sockets, each, slow] = [9, 1_100_000, 100_000]
    const proxy = await slowLink(server.port)
    const senders = Array.from({ length: sockets }, () => numbers(server.port, each))
    senders.push(numbers(proxy.address().port, slow))
    await Promise.all(senders)
    const total = sockets * each + slow
    for (;;) {
      const asking = await open(server.port)
      asking.write(frame(0x81, 'result'))
      const [answer] = await once(asking, 'data')
      asking.destroy()
      const result = JSON.parse(answer.subarray(2).toString())
      if (result.numbered === total && result.wrong === 0 && result.discarded === 0) {
        proxy.close()
        return `${total} messages, none lost, none out of order`
      }
      if (result.wrong > 0) throw new Error(JSON.stringify(result))
      await sleep(500)
    }
  },
}

/** The texts of the frames that come, all of them short. */
async function* texts(socket) {
  let rest = Buffer.alloc(0)
  for await (const chunk of socket) {
    rest = Buffer.concat([rest, chunk])
    let at = 0
    while (rest.length - at >= 2 && rest.length - at >= 2 + rest[at + 1]) {
      yield rest.toString('latin1', at + 2, at + 2 + rest[at + 1])
      at += 2 + rest[at + 1]
    }
    rest = rest.subarray(at)
  }
}

const chosen = process.argv.slice(2)
for (const [name, part] of Object.entries(parts)) {
  if (chosen.length > 0 && !chosen.includes(name)) continue
  const child = spawn(process.execPath, ['scripts/reliability-server.mjs'], {
    cwd: root,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const [port] = await once(createInterface(child.stdout), 'line')
  console.log(`${name}: ${await part({ pid: child.pid, port: Number(port) })}`)
  child.stdin.end()
  child.kill('SIGKILL')
}
process.exit()
