// Figures and lists: what can be asked of a server.

import test from 'ava'
import {
  bufferedAmount,
  clients,
  EventType,
  has,
  MessageKind,
  runServer,
  type Stats,
  send,
  sendAll,
  shutdownServer,
  stats,
} from 'pocketsocket'
import { RawClient } from './support/raw.js'
import { cleanUp, client, known, startNoted } from './support/server.js'
import { eventually } from './support/wait.js'

cleanUp(test)

const FIELDS: (keyof Stats)[] = [
  'accepted',
  'bufferedBytes',
  'bytesIn',
  'bytesOut',
  'closed',
  'connections',
  'discarded',
  'dropped',
  'faults',
  'messagesIn',
  'messagesOut',
  'opened',
  'pages',
  'refused',
  'slowClosed',
  'threads',
  'uptime',
  'waitingBytes',
]

test.serial('without a server all figures are 0, and the lists are empty', (t) => {
  const figures = stats()
  t.deepEqual(Object.keys(figures).sort(), FIELDS)
  t.true(Object.values(figures).every((figure) => figure === 0))
  t.deepEqual(clients(), [])
})

test.serial('each call gives a plain object of its own, with all documented figures', (t) => {
  const { server } = startNoted({ threads: 2 })
  const figures = server.stats()
  t.is(Object.getPrototypeOf(figures), Object.prototype)
  t.deepEqual(Object.keys(figures).sort(), FIELDS)
  t.true(Object.values(figures).every((figure) => Number.isSafeInteger(figure) && figure >= 0))
  t.is(figures.threads, 2)
  figures.threads = 99
  t.is(stats().threads, 2)
})

test.serial('sockets, messages and bytes are counted', async (t) => {
  const { server, events } = startNoted()
  const a = await known(server, events)
  const b = await known(server, events)
  t.is(stats().connections, 2)
  a.client.send('12345')
  a.client.send(Buffer.alloc(1000))
  await events.first(EventType.Binary)
  send(a.uuid, MessageKind.Text, '123')
  sendAll(MessageKind.Text, '1234567')
  await a.client.texts(2)
  await b.client.text()
  await b.client.close()
  await events.first(EventType.Close)
  const { connections, accepted, opened, closed, messagesIn, bytesIn, messagesOut, bytesOut, dropped, faults } = stats()
  t.deepEqual(
    { connections, accepted, opened, closed, messagesIn, bytesIn, messagesOut, bytesOut, dropped, faults },
    {
      connections: 1,
      accepted: 2,
      opened: 2,
      closed: 1,
      messagesIn: 2,
      bytesIn: 1005,
      messagesOut: 3,
      bytesOut: 3 + 7 + 7,
      dropped: 0,
      faults: 0,
    },
  )
  await eventually(() => stats().bufferedBytes === 0 && stats().waitingBytes === 0, 'nothing waits')
})

test.serial('pages, refusals and faults are counted apart', async (t) => {
  const { server, events } = startNoted({ maxPayload: 10 })
  await fetch(server.url)
  await fetch(`${server.url}/health`)
  await fetch(server.url, { method: 'POST' })
  const big = await client(server)
  big.send('more than ten bytes')
  await big.closed
  await events.first(EventType.Close)
  const { pages, refused, faults, opened } = stats()
  t.deepEqual({ pages, refused, faults, opened }, { pages: 2, refused: 1, faults: 1, opened: 1 })
})

test.serial('figures start anew with a new server', async (t) => {
  const { server, events } = startNoted()
  const { client: one } = await known(server, events)
  one.send('x')
  await events.first(EventType.Text)
  t.is(stats().messagesIn, 1)
  await eventually(() => stats().uptime > 200, 'some time has passed')
  await shutdownServer()
  t.is(stats().messagesIn, 0)
  runServer({ port: 0 })
  t.is(stats().messagesIn, 0)
  t.is(stats().opened, 0)
  t.true(stats().uptime < 200)
})

test.serial('clients and has tell of open sockets only', async (t) => {
  const { server, events } = startNoted()
  const a = await known(server, events)
  const b = await known(server, events)
  // A page and an idle connection are no sockets.
  await fetch(server.url)
  const idle = await RawClient.connect(server.port)
  t.deepEqual(new Set(clients()), new Set([a.uuid, b.uuid]))
  t.true(has(a.uuid) && has(b.uuid))
  a.client.terminate()
  await events.first(EventType.Close, a.uuid)
  t.deepEqual(clients(), [b.uuid])
  t.false(has(a.uuid))
  t.is(bufferedAmount(a.uuid), 0)
  await shutdownServer()
  t.deepEqual(clients(), [])
  t.false(has(b.uuid))
  idle.destroy()
})

test.serial('a uuid is one of RFC 9562, version 8, and names its socket for the whole process', async (t) => {
  const { server, events } = startNoted()
  const { uuid } = await known(server, events)
  t.regex(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  t.true(events.all.every((told) => told.uuid === uuid))
  t.deepEqual(clients(), [uuid])
})
