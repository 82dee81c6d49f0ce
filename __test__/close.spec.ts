// Each way in which a socket can end: one Close, the last of its events, with the code that tells why.

import test, { type ExecutionContext } from 'ava'
import { clients, closeRemoveClient, EventType, has, type Server, shutdownServer, stats } from 'pocketsocket'
import type { Client } from './support/client.js'
import type { Events } from './support/events.js'
import { RawClient } from './support/raw.js'
import { cleanUp, known, startNoted } from './support/server.js'
import { eventually } from './support/wait.js'

cleanUp(test)

/** Waits for the Close of a socket; another socket's whole life afterwards shows that nothing followed it. */
async function onlyClose(t: ExecutionContext, server: Server, events: Events, uuid: string) {
  const close = await events.first(EventType.Close, uuid)
  t.false(has(uuid))
  if (server.stats().threads > 0) {
    const witness = await known(server, events)
    witness.client.send('a witness')
    await events.first(EventType.Text, witness.uuid)
    await witness.client.close()
    await events.first(EventType.Close, witness.uuid)
  }
  const own = events.all.filter((told) => told.uuid === uuid).map(({ type }) => type)
  t.is(own[0], EventType.Connect)
  t.is(own.at(-1), EventType.Close)
  t.is(own.filter((type) => type === EventType.Close).length, 1)
  t.is(own.filter((type) => type === EventType.Connect).length, 1)
  await eventually(() => stats().connections === 0 && stats().closed === stats().opened, 'no socket left')
  t.deepEqual(clients(), [])
  return close
}

interface Way {
  readonly end: (client: Client, uuid: string) => unknown
  readonly told: { code: number; reason: string; wasClean: boolean }
  /** What the client is told; the answer to its own Close need not repeat the reason. */
  readonly client?: { code: number; reason?: string }
}

const WAYS: Record<string, Way> = {
  'the client closes with a code and a reason': {
    end: (client) => client.socket.close(4321, 'прощай'),
    told: { code: 4321, reason: 'прощай', wasClean: true },
    client: { code: 4321 },
  },
  'the client closes without a code': {
    end: (client) => client.socket.close(),
    told: { code: 1005, reason: '', wasClean: true },
    client: { code: 1005, reason: '' },
  },
  'the connection breaks': {
    end: (client) => client.terminate(),
    told: { code: 1006, reason: '', wasClean: false },
  },
  'the server closes it': {
    end: (_, uuid) => closeRemoveClient(uuid),
    told: { code: 1000, reason: '', wasClean: true },
    client: { code: 1000, reason: '' },
  },
  'the server closes it with a code and a reason': {
    end: (_, uuid) => closeRemoveClient(uuid, 4001, 'logged out 😀'),
    told: { code: 4001, reason: 'logged out 😀', wasClean: true },
    client: { code: 4001, reason: 'logged out 😀' },
  },
  'the server closes it, and its connection breaks': {
    end: (client, uuid) => {
      client.stopReading()
      closeRemoveClient(uuid, 4001, 'ours')
      client.terminate()
    },
    told: { code: 4001, reason: 'ours', wasClean: false },
  },
}

for (const [name, { end, told, client: seen }] of Object.entries(WAYS)) {
  test.serial(`one Close, and nothing after it: ${name}`, async (t) => {
    const { server, events } = startNoted()
    const { client, uuid } = await known(server, events)
    end(client, uuid)
    t.deepEqual(await onlyClose(t, server, events, uuid), { kind: EventType.Close, data: '', ...told })
    if (seen) t.like(await client.closed, seen)
  })
}

/** What a client must not send: bytes, and the code that it gets for them. */
const FAULTS: Record<string, [code: number, send: (client: RawClient) => void]> = {
  'a frame without a mask': [1002, (client) => client.bytes(0x81, 0x02, 0x68, 0x69)],
  'an opcode that is reserved': [1002, (client) => client.frame(3, Buffer.from('x'))],
  'a reserved bit': [1002, (client) => client.bytes(0xc1, 0x80, 0, 0, 0, 0)],
  'a continuation of nothing': [1002, (client) => client.frame(0, Buffer.from('x'))],
  'a ping in fragments': [1002, (client) => client.bytes(0x09, 0x80, 0, 0, 0, 0)],
  'a Close with a code that nobody may send': [1002, (client) => client.frame(8, Buffer.from([0x03, 0xed]))],
  'a Close with one byte': [1002, (client) => client.frame(8, Buffer.from([3]))],
  'text that is not UTF-8': [1007, (client) => client.frame(1, Buffer.from([0xff]))],
  'text that ends in the middle of a character': [1007, (client) => client.frame(1, Buffer.from([0xf0, 0x9f]))],
}

for (const [name, [code, fault]] of Object.entries(FAULTS)) {
  test.serial(`one Close, and nothing after it: ${name}`, async (t) => {
    const { server, events } = startNoted()
    const raw = await RawClient.upgrade(server.port)
    const uuid = await events.uuid()
    raw.frame(1, Buffer.from('before'))
    fault(raw)
    const frame = await raw.serverFrame()
    t.is(frame.opcode, 8)
    t.is(frame.payload.readUInt16BE(), code)
    raw.destroy()
    const close = await onlyClose(t, server, events, uuid)
    t.is(close.code, code)
    t.false(close.wasClean)
    t.is(stats().faults, 1)
    t.deepEqual(
      events.of(EventType.Text, uuid).map(({ data }) => data),
      ['before'],
    )
  })
}

test.serial('one Close, and nothing after it: both sides close at once', async (t) => {
  const { server, events } = startNoted()
  const { client, uuid } = await known(server, events)
  client.socket.close(4002, 'theirs')
  closeRemoveClient(uuid, 4001, 'ours')
  const close = await onlyClose(t, server, events, uuid)
  // Who was first on the way decides.
  t.true(close.code === 4001 || close.code === 4002, String(close.code))
  t.is(close.reason, close.code === 4001 ? 'ours' : 'theirs')
  t.true(close.wasClean)
})

test.serial('one Close, and nothing after it: a client that is silent for idleTimeout', async (t) => {
  const { server, events } = startNoted({ idleTimeout: 1, pingInterval: 0 })
  const started = performance.now()
  const { client, uuid } = await known(server, events)
  const close = await onlyClose(t, server, events, uuid)
  t.is(close.code, 1001)
  t.deepEqual(await client.closed, { code: 1001, reason: close.reason })
  t.true(performance.now() - started >= 1000)
})

test.serial('one Close, and nothing after it: shutdown', async (t) => {
  const { server, events } = startNoted()
  const { client, uuid } = await known(server, events)
  await shutdownServer()
  const close = await onlyClose(t, server, events, uuid)
  t.is(close.code, 1001)
  t.true(close.wasClean)
  t.is((await client.closed).code, 1001)
})

test.serial('a client that does not answer our Close is cut after closeTimeout', async (t) => {
  const { server, events } = startNoted({ closeTimeout: 200 })
  const raw = await RawClient.upgrade(server.port)
  const uuid = await events.uuid()
  const started = performance.now()
  closeRemoveClient(uuid, 4001, 'go')
  const close = await onlyClose(t, server, events, uuid)
  const took = performance.now() - started
  t.deepEqual(close, { kind: EventType.Close, data: '', code: 4001, reason: 'go', wasClean: false })
  t.true(took >= 190, `${took} ms`)
  raw.destroy()
})

test.serial('a client that answers pings is not idle', async (t) => {
  const { server, events } = startNoted({ idleTimeout: 2, pingInterval: 1 })
  const { client, uuid } = await known(server, events)
  let pings = 0
  client.socket.on('ping', () => pings++)
  await eventually(() => pings >= 3, 'three pings')
  t.true(has(uuid))
  t.is(events.of(EventType.Close).length, 0)
})
