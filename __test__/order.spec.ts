// Per socket: Connect first, messages in the order in which they were sent, Close last.

import { connect } from 'node:net'
import test from 'ava'
import { EventType, hook, send, stats } from 'pocketsocket'
import { Events } from './support/events.js'
import { cleanUp, client, start } from './support/server.js'

cleanUp(test)

test.serial('100,000 numbered messages of one socket echo in order', async (t) => {
  t.timeout(60_000)
  const count = 100_000
  const atHook: number[] = []
  hook((uuid, type, event) => {
    if (type !== EventType.Text) return
    atHook.push(Number(event.data))
    send(uuid, type, event)
  })
  const echo = await client(start())
  const back: number[] = []
  const all = new Promise<void>((resolve) => {
    echo.socket.on('message', (data) => {
      back.push(Number(data))
      if (back.length === count) resolve()
    })
  })
  // A client that reads while it sends: the rest goes out as the system takes it.
  for (let n = 0; n < count; n++) echo.send(String(n))
  await all
  t.is(atHook.length, count)
  t.is(
    atHook.findIndex((value, n) => value !== n),
    -1,
  )
  t.is(
    back.findIndex((value, n) => value !== n),
    -1,
  )
  t.is(stats().dropped, 0)
})

test.serial('messages of many sizes and kinds keep their order', async (t) => {
  const sizes = [0, 1, 100, 4096, 20_000, 70_000, 300_000]
  hook((uuid, type, event) => send(uuid, type, event))
  const echo = await client(start())
  const sent: [boolean, number, number][] = []
  for (let n = 0; n < 210; n++) {
    const size = (sizes[(n * 5) % sizes.length] as number) + 4
    const bytes = Buffer.alloc(size, 'x')
    bytes.write(String(n).padStart(4, '0'))
    const binary = n % 3 === 0
    sent.push([binary, size, n])
    echo.send(binary ? bytes : bytes.toString())
    // In rounds, so that no send limit is reached.
    if (n % 7 === 6) {
      for (const expected of sent.splice(0)) {
        const { data, binary } = await echo.receive()
        t.deepEqual([binary, data.length, Number(data.toString('latin1', 0, 4))], expected)
      }
    }
  }
})

test.serial('200 sockets at once: each has its own order, from Connect to Close', async (t) => {
  const sockets = 200
  const messages = 50
  const events = new Events()
  hook(events.hook)
  const server = start()
  const clients = await Promise.all(Array.from({ length: sockets }, () => client(server)))
  for (let n = 0; n < messages; n++) {
    for (const [who, one] of clients.entries()) one.send(`${who}:${n}`)
  }
  for (const one of clients) one.socket.close(1000, 'done')
  await events.until(() => events.all.length >= sockets * (messages + 2), 'every event')
  t.is(events.all.length, sockets * (messages + 2))
  t.is(events.uuids.length, sockets)
  for (const uuid of events.uuids) {
    const own = events.all.filter((told) => told.uuid === uuid)
    t.is(own[0]?.type, EventType.Connect)
    t.is(own.at(-1)?.type, EventType.Close)
    const texts = own.slice(1, -1).map(({ event }) => String(event.data))
    const who = texts[0]?.split(':')[0]
    t.deepEqual(
      texts,
      Array.from({ length: messages }, (_, n) => `${who}:${n}`),
    )
  }
})

test.serial('messages that come with the handshake are behind its Connect', async (t) => {
  const events = new Events()
  hook(events.hook)
  const server = start()
  for (let n = 0; n < 20; n++) {
    const socket = connect(server.port, '127.0.0.1')
    // Request, one text frame and a Close with 1000, in one segment.
    socket.write(
      Buffer.concat([
        Buffer.from(
          `GET / HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
            'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
        ),
        Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]),
        Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]),
      ]),
    )
    socket.on('error', () => {})
    await events.until(() => events.of(EventType.Close).length > n, 'its Close')
    socket.destroy()
  }
  for (const uuid of events.uuids) {
    const own = events.all.filter((told) => told.uuid === uuid).map(({ type, event }) => [type, event.data])
    t.deepEqual(own, [
      [EventType.Connect, ''],
      [EventType.Text, 'hi'],
      [EventType.Close, ''],
    ])
  }
})
