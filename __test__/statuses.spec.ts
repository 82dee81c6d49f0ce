// What each call answers, by the state of the socket.

import test from 'ava'
import {
  bufferedAmount,
  closeRemoveClient,
  EventType,
  has,
  hook,
  MessageKind,
  publish,
  SendStatus,
  send,
  sendAll,
  stats,
  subscribe,
  unsubscribe,
} from 'pocketsocket'
import { cleanUp, client, known, start, startNoted } from './support/server.js'
import { eventually } from './support/wait.js'

cleanUp(test)

/** A uuid as they look, which no server has given out. */
const STRANGER = '01234567-89ab-8def-8123-456789abcdef'
const EVENTS_THAT_ARE_NO_MESSAGES = [EventType.Connect, EventType.Close, EventType.Error, EventType.Drain]

test.serial('a message to an open socket is taken, and arrives', async (t) => {
  const { server, events } = startNoted()
  const { client, uuid } = await known(server, events)
  t.is(send(uuid, MessageKind.Text, 'here'), SendStatus.Ok)
  t.is(SendStatus.Ok, 0)
  t.is(await client.text(), 'here')
})

test.serial('a uuid that is none, of nobody or empty is unknown', async (t) => {
  const { server, events } = startNoted()
  const { uuid } = await known(server, events)
  const last = uuid.at(-1) === '0' ? '1' : '0'
  for (const wrong of [STRANGER, '', 'no uuid', `${uuid} `, ` ${uuid}`, uuid.slice(0, -1), uuid.slice(0, -1) + last]) {
    t.is(send(wrong, MessageKind.Text, 'x'), SendStatus.Unknown, wrong)
    t.is(closeRemoveClient(wrong), 1, wrong)
    t.is(subscribe(wrong, 'topic'), SendStatus.Unknown, wrong)
    t.is(unsubscribe(wrong, 'topic'), SendStatus.Unknown, wrong)
    t.is(bufferedAmount(wrong), 0, wrong)
    t.false(has(wrong), wrong)
  }
  t.true(has(uuid), 'the real one was not touched')
})

test.serial('without a server every socket is unknown, and a broadcast has no receivers', (t) => {
  t.is(send(STRANGER, MessageKind.Text, 'x'), SendStatus.Unknown)
  t.is(closeRemoveClient(STRANGER), 1)
  t.is(subscribe(STRANGER, 'topic'), SendStatus.Unknown)
  t.is(sendAll(MessageKind.Text, 'x'), SendStatus.Ok)
  t.is(publish('topic', MessageKind.Text, 'x'), SendStatus.Ok)
})

for (const kind of EVENTS_THAT_ARE_NO_MESSAGES) {
  test.serial(`kind ${kind} is an event's but no message's: nothing is sent`, async (t) => {
    const { server, events } = startNoted()
    const { client, uuid } = await known(server, events)
    subscribe(uuid, 'topic')
    t.is(send(uuid, kind, 'x'), SendStatus.NotAMessage)
    t.is(send(uuid, kind, { kind: EventType.Close, data: '', code: 1000, reason: '', wasClean: true }), 3)
    t.is(sendAll(kind, 'x'), SendStatus.NotAMessage)
    t.is(publish('topic', kind, 'x'), SendStatus.NotAMessage)
    send(uuid, MessageKind.Text, 'the first')
    t.is(await client.text(), 'the first')
  })
}

test.serial('a broadcast without receivers is taken', (t) => {
  start()
  t.is(sendAll(MessageKind.Text, 'to nobody'), SendStatus.Ok)
  t.is(publish('nobody hears it', MessageKind.Text, 'to nobody'), SendStatus.Ok)
})

test.serial('a socket is closed once; from then on it is unknown', async (t) => {
  const { server, events } = startNoted()
  const { client, uuid } = await known(server, events)
  t.is(send(uuid, MessageKind.Text, 'the last'), SendStatus.Ok)
  t.is(closeRemoveClient(uuid, 4001, 'enough'), 0)
  t.is(closeRemoveClient(uuid), 1)
  t.is(send(uuid, MessageKind.Text, 'too late'), SendStatus.Unknown)
  t.is(subscribe(uuid, 'topic'), SendStatus.Unknown)
  t.false(has(uuid))
  t.is(await client.text(), 'the last')
  t.deepEqual(await client.closed, { code: 4001, reason: 'enough' })
  t.is(client.left, 0)
  const close = await events.first(EventType.Close)
  t.deepEqual(close, { kind: 3, data: '', code: 4001, reason: 'enough', wasClean: true })
  t.is(closeRemoveClient(uuid), 1)
})

test.serial('with dropPolicy close the message that is dropped ends its socket with 1013', async (t) => {
  const { server, events } = startNoted({ backpressureLimit: 256 * 1024, dropPolicy: 'close', closeTimeout: 100 })
  const { client, uuid } = await known(server, events)
  client.stopReading()
  const chunk = Buffer.alloc(64 * 1024, 'x')
  let status: SendStatus = SendStatus.Ok
  while (status === SendStatus.Ok) status = send(uuid, MessageKind.Binary, chunk)
  t.is(status, SendStatus.Dropped)
  t.is(send(uuid, MessageKind.Binary, chunk), SendStatus.Unknown, 'it is closed at once')
  t.is((await events.first(EventType.Close)).code, 1013)
})

test.serial('a client that does not read: messages are dropped at the limit, and Drain tells of room', async (t) => {
  const backpressureLimit = 256 * 1024
  const { server, events } = startNoted({ backpressureLimit })
  const { client, uuid } = await known(server, events)
  client.stopReading()
  const chunk = Buffer.alloc(64 * 1024, 'x')
  let taken = 0
  // The system's own buffers take some megabytes first.
  const fill = () => {
    while (send(uuid, MessageKind.Binary, chunk) === SendStatus.Ok) taken++
  }
  fill()
  await eventually(() => {
    const before = taken
    fill()
    return taken === before && bufferedAmount(uuid) > backpressureLimit - chunk.length - 16
  }, 'a full queue')
  t.is(send(uuid, MessageKind.Binary, chunk), SendStatus.Dropped)
  t.true(bufferedAmount(uuid) <= backpressureLimit)
  t.true(stats().dropped > 0)
  t.is(sendAll(MessageKind.Binary, chunk), SendStatus.Ok, 'a broadcast leaves out who is behind')

  // While the system's buffers filled up, some of the drops were followed by room.
  const before = events.of(EventType.Drain).length
  client.resumeReading()
  const drains = await events.some(EventType.Drain, before + 1, uuid)
  t.deepEqual(drains[before], { kind: 5, data: '' })
  await eventually(() => bufferedAmount(uuid) <= backpressureLimit / 2, 'room for half of the limit')
  // What was taken arrives, what was dropped does not.
  for (let n = 0; n < taken; n++) t.is((await client.receive()).data.length, chunk.length)
  await eventually(() => bufferedAmount(uuid) === 0, 'an empty queue')
  t.is(send(uuid, MessageKind.Text, 'room again'), SendStatus.Ok)
  const next = await client.receive()
  // The broadcast came through if there was a moment's room for it.
  t.is(next.binary ? await client.text() : next.data.toString(), 'room again')
})

test.serial('an empty queue takes one message that is larger than the limit', async (t) => {
  const { server, events } = startNoted({ backpressureLimit: 1000 })
  const { client, uuid } = await known(server, events)
  // Both in one turn: nothing has left when the second comes.
  t.is(send(uuid, MessageKind.Binary, Buffer.alloc(50_000)), SendStatus.Ok)
  t.is(send(uuid, MessageKind.Binary, Buffer.alloc(1)), SendStatus.Dropped)
  t.is((await client.receive()).data.length, 50_000)
  await events.first(EventType.Drain)
  t.is(send(uuid, MessageKind.Text, 'again'), SendStatus.Ok)
  t.is(await client.text(), 'again')
})

test.serial('bufferedAmount counts what waits, with 16 bytes a message, and falls to 0', async (t) => {
  const { server, events } = startNoted()
  const { client, uuid } = await known(server, events)
  // Both calls in one turn: nothing has left yet.
  send(uuid, MessageKind.Text, 'x'.repeat(1000))
  send(uuid, MessageKind.Text, '')
  t.is(bufferedAmount(uuid), 1000 + 16 + 16)
  await client.texts(2)
  await eventually(() => bufferedAmount(uuid) === 0 && stats().bufferedBytes === 0, 'all was sent')
  t.is(bufferedAmount(uuid), 0)
})

test.serial('a broadcast leaves out its origin, whoever that is', async (t) => {
  const { server, events } = startNoted()
  const a = await known(server, events)
  const b = await known(server, events)
  t.is(sendAll(MessageKind.Text, 'all but a', a.uuid), SendStatus.Ok)
  t.is(sendAll(MessageKind.Text, 'to all, with a stranger as origin', STRANGER), SendStatus.Ok)
  t.is(sendAll(MessageKind.Text, 'to all', null), SendStatus.Ok)
  t.deepEqual(await b.client.texts(3), ['all but a', 'to all, with a stranger as origin', 'to all'])
  t.deepEqual(await a.client.texts(2), ['to all, with a stranger as origin', 'to all'])
})

test.serial('a hook may relay all that it gets: what is no message is not sent', async (t) => {
  const statuses: number[] = []
  hook((uuid, eventType, event) => {
    statuses.push(send(uuid, eventType, event))
  })
  const server = start()
  const echo = await client(server)
  echo.send('hello')
  t.is(await echo.text(), 'hello')
  await echo.close(1000)
  await eventually(() => statuses.length === 3, 'Connect, Text and Close')
  t.deepEqual(statuses, [SendStatus.NotAMessage, SendStatus.Ok, SendStatus.NotAMessage])
})
