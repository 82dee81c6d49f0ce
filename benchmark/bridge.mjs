// What one event and one send cost the JavaScript thread, through the real addon and a real socket: `npm run bench:bridge`.
//
// An event: CPU time of this thread from the first to the last of many messages, whose hook only counts, over their number.
// It has the wake-ups in it. A send: the time that calls of send() take, a thousand at a time to one socket; what they queue is
// drained in between, and not measured.

import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import process from 'node:process'
import { setImmediate as next } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pocketsocket, { EventType, MessageKind, runServer, send, shutdownServer } from '../index.js'

const SIZES = [16, 128, 1024]
const TEXTS = { ASCII: 'abcdefgh', Cyrillic: 'жзийклмн' }
const EVENTS = 400_000
const SENDS = 1000
const ROUNDS = 100

const textOf = (alphabet, bytes) => {
  const each = Buffer.byteLength(alphabet) / alphabet.length
  return alphabet.repeat(Math.ceil(bytes / each / alphabet.length)).slice(0, bytes / each)
}

if (process.argv[2] === 'client') await client(Number(process.argv[3]), process.argv[4], Number(process.argv[5]))
else await main()

/** Sends a text many times, and reads whatever comes. */
async function client(port, text, count) {
  const payload = Buffer.from(text)
  const header =
    payload.length < 126 ? [0x81, 0x80 | payload.length] : [0x81, 0xfe, payload.length >> 8, payload.length & 0xff]
  // A mask of zeros: the payload stays as it is.
  const frame = Buffer.concat([Buffer.from([...header, 0, 0, 0, 0]), payload])
  const socket = createConnection(port, '127.0.0.1')
  socket.write(
    `GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}\r\n\r\n`,
  )
  await new Promise((resolve) => socket.once('data', resolve))
  socket.resume()
  const block = Buffer.concat(Array(Math.max(1, Math.floor(65_536 / frame.length))).fill(frame))
  for (let left = count; left > 0; ) {
    const bytes = left * frame.length < block.length ? block.subarray(0, left * frame.length) : block
    left -= bytes.length / frame.length
    if (!socket.write(bytes)) await new Promise((resolve) => socket.once('drain', resolve))
  }
}

/** Nanoseconds that this thread has run. */
function cpu() {
  return Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[0])
}

async function main() {
  const server = runServer('127.0.0.1', 0, { idleTimeout: 0, backpressureLimit: 64 << 20 })
  const start = (text, count) =>
    spawn(process.execPath, [fileURLToPath(import.meta.url), 'client', server.port, text, count], { stdio: 'inherit' })
  const rows = []
  for (const [name, alphabet] of Object.entries(TEXTS)) {
    for (const size of SIZES) {
      const text = textOf(alphabet, size)
      const event = await nanosAnEvent(() => start(text, EVENTS))
      const sent = await nanosASend(() => start('', 0), text)
      rows.push({ text: name, bytes: size, 'ns an event': Math.round(event), 'ns a send': Math.round(sent) })
    }
  }
  await shutdownServer()
  if (process.argv.includes('--json')) console.log(JSON.stringify({ node: process.version, rows }))
  else console.table(rows)
}

async function nanosAnEvent(start) {
  let [count, from] = [0, 0]
  let child
  const nanos = await new Promise((resolve) => {
    pocketsocket.hook((_, type) => {
      if (type !== EventType.Text) return
      if (count === 0) from = cpu()
      count += 1
      if (count === EVENTS) resolve(cpu() - from)
    })
    child = start()
  })
  child.kill()
  return nanos / EVENTS
}

async function nanosASend(start, text) {
  let child
  const uuid = await new Promise((resolve) => {
    pocketsocket.hook((uuid, type) => type === EventType.Connect && resolve(uuid))
    child = start()
  })
  const times = []
  for (let round = 0; round < ROUNDS; round++) {
    const from = process.hrtime.bigint()
    for (let at = 0; at < SENDS; at++) send(uuid, MessageKind.Text, text)
    times.push(Number(process.hrtime.bigint() - from) / SENDS)
    while (pocketsocket.bufferedAmount(uuid) > 0) await next()
  }
  child.kill()
  return times.sort((a, b) => a - b)[ROUNDS >> 1]
}
