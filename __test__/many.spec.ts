// One message for several sockets that are named, and for several topics.

import test from 'ava'
import { MessageKind, publish, send, sendMany, stats, subscribe } from 'pocketsocket'
import { cleanUp, known, startNoted } from './support/server.js'

cleanUp(test)

const NOBODY = '00000000-0000-8000-8000-000000000000'

test.serial('sendMany reaches those who are named, tells of each, and keeps its place among other calls', async (t) => {
  const { server, events } = startNoted({ threads: 3 })
  const sockets = []
  for (let n = 0; n < 7; n++) sockets.push(await known(server, events))
  const [first, ...rest] = sockets
  const uuids = rest.map(({ uuid }) => uuid)
  for (const { uuid } of sockets) send(uuid, 1, 'before')
  t.deepEqual(sendMany([...uuids, NOBODY, 'short', 'я'.repeat(36)], 1, 'é many'), [0, 0, 0, 0, 0, 0, 1, 1, 1])
  t.deepEqual(sendMany(uuids, 2, Buffer.from([1, 2])), [0, 0, 0, 0, 0, 0])
  for (const { uuid } of sockets) send(uuid, 1, 'after')
  for (const { client } of rest) {
    t.deepEqual(await client.texts(2), ['before', 'é many'])
    t.deepEqual(await client.receive(), { data: Buffer.from([1, 2]), binary: true })
    t.is(await client.text(), 'after')
  }
  t.deepEqual(await first?.client.texts(2), ['before', 'after'])
})

test.serial('sendMany: one that is behind is dropped, twice named is twice sent, and none is fine', async (t) => {
  const { server, events } = startNoted({ backpressureLimit: 64 * 1024 })
  const slow = await known(server, events)
  const quick = await known(server, events)
  slow.client.stopReading()
  const filler = 'x'.repeat(1024 * 1024)
  while (send(slow.uuid, 1, filler) === 0);
  const dropped = stats().dropped
  t.deepEqual(sendMany([slow.uuid, quick.uuid, quick.uuid], 1, 'x'), [2, 0, 0])
  t.is(stats().dropped, dropped + 1)
  t.deepEqual(await quick.client.texts(2), ['x', 'x'])
  t.deepEqual(sendMany([], 1, 'x'), [])
  t.deepEqual(sendMany([quick.uuid, NOBODY], 3, 'x'), [3, 3])
})

test.serial('sendMany: wrong arguments throw, and nothing is sent', async (t) => {
  const { server, events } = startNoted()
  const { client, uuid } = await known(server, events)
  const wrong = (uuids: unknown, kind: number, data: unknown, code: string) =>
    t.throws(() => sendMany(uuids as string[], kind, data as string), { code })
  wrong(uuid, 1, 'x', 'ERR_INVALID_UUID')
  wrong([uuid, 5], 1, 'x', 'ERR_INVALID_UUID')
  wrong([uuid], 6, 'x', 'ERR_INVALID_KIND')
  wrong([uuid], 1, 5, 'ERR_INVALID_DATA')
  wrong([uuid], 1, Buffer.from([255]), 'ERR_INVALID_UTF8')
  wrong([uuid], 9, 'x'.repeat(126), 'ERR_MESSAGE_TOO_LONG')
  send(uuid, 1, 'end')
  t.is(await client.text(), 'end')
})

test.serial('without a server sendMany gives Unknown for each', (t) => {
  t.deepEqual(sendMany([NOBODY, NOBODY], 1, 'x'), [1, 1])
})

test.serial(
  'publish to several topics: a socket in more than one gets it once, the origin and others not',
  async (t) => {
    const { server, events } = startNoted({ threads: 3 })
    const a = await known(server, events)
    const b = await known(server, events)
    const both = await known(server, events)
    const origin = await known(server, events)
    const other = await known(server, events)
    subscribe(a.uuid, '1:a')
    subscribe(b.uuid, 'бэ:')
    for (const { uuid } of [both, origin]) for (const topic of ['1:a', 'бэ:']) subscribe(uuid, topic)
    subscribe(other.uuid, 'c')
    t.is(publish(['1:a', 'бэ:', 'empty', 'бэ:'], MessageKind.Text, 'news', origin.uuid), 0)
    t.is(publish([], MessageKind.Text, 'to nobody'), 0)
    for (const { uuid } of [a, b, both, origin, other]) send(uuid, 1, 'end')
    for (const { client } of [a, b, both]) t.deepEqual(await client.texts(2), ['news', 'end'])
    for (const { client } of [origin, other]) t.is(await client.text(), 'end')
    t.throws(() => publish(['ok', ''], 1, 'x'), { code: 'ERR_INVALID_TOPIC' })
    t.throws(() => publish(Array(257).fill('x'), 1, 'x'), { code: 'ERR_INVALID_TOPIC', instanceOf: RangeError })
  },
)
