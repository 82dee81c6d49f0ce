// Rooms: who hears what.

import test from 'ava'
import { EventType, hook, MessageKind, publish, SendStatus, send, subscribe, topics, unsubscribe } from 'pocketsocket'
import { Events } from './support/events.js'
import { cleanUp, client, known, start, startNoted } from './support/server.js'
import { eventually } from './support/wait.js'

cleanUp(test)

const TEXT = MessageKind.Text

test.serial('a message is published to those who subscribed, and to nobody else', async (t) => {
  // Several shards, each with its own list.
  const { server, events } = startNoted({ threads: 3 })
  const all = []
  for (let n = 0; n < 9; n++) all.push(await known(server, events))
  for (const [n, { uuid }] of all.entries()) if (n % 2 === 0) t.is(subscribe(uuid, 'even'), SendStatus.Ok)
  t.is(publish('even', TEXT, 'to the even'), SendStatus.Ok)
  t.is(publish('odd', TEXT, 'to nobody'), SendStatus.Ok)
  for (const { uuid } of all) send(uuid, TEXT, 'to each')
  for (const [n, { client }] of all.entries()) {
    if (n % 2 === 0) t.is(await client.text(), 'to the even')
    t.is(await client.text(), 'to each')
    t.is(client.left, 0)
  }
})

test.serial('the origin is left out, whether it subscribed or not', async (t) => {
  const { server, events } = startNoted()
  const a = await known(server, events)
  const b = await known(server, events)
  subscribe(a.uuid, 'topic')
  publish('topic', TEXT, 'b is the origin', b.uuid)
  subscribe(b.uuid, 'topic')
  publish('topic', TEXT, 'a is the origin', a.uuid)
  publish('topic', MessageKind.Binary, Buffer.from('nobody is'))
  t.is(await a.client.text(), 'b is the origin')
  t.is((await a.client.receive()).data.toString(), 'nobody is')
  t.is(await b.client.text(), 'a is the origin')
  t.deepEqual(await b.client.receive(), { data: Buffer.from('nobody is'), binary: true })
})

test.serial('who subscribes hears the next message of the same turn, and who unsubscribes does not', async (t) => {
  const { server, events } = startNoted()
  const { client, uuid } = await known(server, events)
  publish('topic', TEXT, 'too early')
  subscribe(uuid, 'topic')
  publish('topic', TEXT, 'heard')
  unsubscribe(uuid, 'topic')
  publish('topic', TEXT, 'too late')
  send(uuid, TEXT, 'the end')
  t.deepEqual(await client.texts(2), ['heard', 'the end'])
})

test.serial('to subscribe twice is to subscribe once', async (t) => {
  const { server, events } = startNoted()
  const { client, uuid } = await known(server, events)
  t.is(subscribe(uuid, 'topic'), SendStatus.Ok)
  t.is(subscribe(uuid, 'topic'), SendStatus.Ok)
  publish('topic', TEXT, 'once')
  t.is(unsubscribe(uuid, 'topic'), SendStatus.Ok)
  t.is(unsubscribe(uuid, 'topic'), SendStatus.Ok)
  publish('topic', TEXT, 'not at all')
  send(uuid, TEXT, 'the end')
  t.deepEqual(await client.texts(2), ['once', 'the end'])
})

test.serial('topics are listed, sorted, as they stand after each call', async (t) => {
  const { server, events } = startNoted()
  const { client, uuid } = await known(server, events)
  t.deepEqual(topics(uuid), [])
  for (const topic of ['b', 'a', 'я😀', 'c']) subscribe(uuid, topic)
  t.deepEqual(topics(uuid), ['a', 'b', 'c', 'я😀'])
  unsubscribe(uuid, 'b')
  t.deepEqual(topics(uuid), ['a', 'c', 'я😀'])
  publish('я😀', TEXT, 'any name will do')
  t.is(await client.text(), 'any name will do')
})

test.serial('a socket is in 256 topics at most', async (t) => {
  const { server, events } = startNoted()
  const { uuid } = await known(server, events)
  for (let n = 0; n < 256; n++) t.is(subscribe(uuid, `topic ${n}`), SendStatus.Ok)
  t.is(subscribe(uuid, 'one more'), SendStatus.Dropped)
  t.is(subscribe(uuid, 'topic 0'), SendStatus.Ok, 'it is in that one')
  unsubscribe(uuid, 'topic 0')
  t.is(subscribe(uuid, 'one more'), SendStatus.Ok)
  t.is(topics(uuid).length, 256)
})

test.serial('a socket leaves its topics when it ends, and who gets its place is not in them', async (t) => {
  const { server, events } = startNoted({ maxConnections: 1 })
  const first = await known(server, events)
  subscribe(first.uuid, 'topic')
  await first.client.close()
  await events.first(EventType.Close, first.uuid)
  t.deepEqual(topics(first.uuid), [])
  t.is(subscribe(first.uuid, 'topic'), SendStatus.Unknown)
  t.is(unsubscribe(first.uuid, 'topic'), SendStatus.Unknown)
  // The only place: it has to be the same one.
  const second = await known(server, events)
  publish('topic', TEXT, 'for the first')
  send(second.uuid, TEXT, 'for the second')
  t.is(await second.client.text(), 'for the second')
  t.deepEqual(topics(second.uuid), [])
})

test.serial('sockets come, subscribe and go at once: nobody hears what is not theirs', async (t) => {
  const wrong: string[] = []
  const events = new Events((uuid, type, event) => {
    if (type === EventType.Connect) {
      subscribe(uuid, uuid)
      publish(uuid, TEXT, uuid)
    }
    if (type === EventType.Text) publish(event.data, TEXT, event.data)
  })
  hook(events.hook)
  const server = start()
  for (let round = 0; round < 10; round++) {
    const clients = await Promise.all(Array.from({ length: 20 }, () => client(server)))
    for (const one of clients) {
      const own = await one.text()
      one.send(own)
      const again = await one.text()
      if (again !== own) wrong.push(`${again} to ${own}`)
      one.terminate()
    }
  }
  await eventually(() => events.of(EventType.Close).length === 200, 'all have ended')
  t.deepEqual(wrong, [])
  t.is(new Set(events.uuids).size, 200)
})
