// Commands of one thread keep the order of the calls, wherever they are called from.

import { setImmediate as immediate } from 'node:timers/promises'
import test from 'ava'
import {
  closeRemoveClient,
  EventType,
  hook,
  MessageKind,
  publish,
  send,
  sendAll,
  stats,
  subscribe,
  unsubscribe,
} from 'pocketsocket'
import { cleanUp, client, known, start, startNoted } from './support/server.js'
import { busy } from './support/wait.js'

cleanUp(test)

const TEXT = MessageKind.Text

test.serial('send, sendAll, publish, subscribe, unsubscribe and close keep the order of the calls', async (t) => {
  const { server, events } = startNoted()
  const { client, uuid } = await known(server, events)
  const expected: string[] = []
  const say = (text: string) => {
    expected.push(text)
    return text
  }
  for (let round = 0; round < 50; round++) {
    publish('topic', TEXT, 'not yet subscribed')
    send(uuid, TEXT, say(`send ${round}`))
    sendAll(TEXT, say(`sendAll ${round}`))
    subscribe(uuid, 'topic')
    publish('topic', TEXT, say(`publish ${round}`))
    send(uuid, MessageKind.Binary, say(`binary ${round}`))
    publish('topic', TEXT, say(`publish again ${round}`))
    unsubscribe(uuid, 'topic')
    publish('topic', TEXT, 'no longer subscribed')
    sendAll(TEXT, say(`sendAll again ${round}`))
  }
  send(uuid, TEXT, say('the last'))
  closeRemoveClient(uuid)
  sendAll(TEXT, 'after the close')
  const received: string[] = []
  for (const _ of expected) received.push((await client.receive()).data.toString())
  t.deepEqual(received, expected)
  await client.closed
  t.is(client.left, 0)
})

test.serial('large and small messages keep the order of the calls', async (t) => {
  const { server, events } = startNoted({ backpressureLimit: 1 << 26 })
  const { client, uuid } = await known(server, events)
  const sizes = Array.from({ length: 60 }, (_, n) => [5, 5000, 70_000, 200_000][n % 4] as number)
  for (const [n, size] of sizes.entries()) {
    const bytes = Buffer.alloc(size, String(n % 10))
    if (n % 2 === 0) send(uuid, MessageKind.Binary, bytes)
    else sendAll(MessageKind.Binary, bytes)
  }
  for (const [n, size] of sizes.entries()) {
    const { data } = await client.receive()
    t.is(data.length, size, `message ${n}`)
    t.is(String.fromCharCode(data[0] as number), String(n % 10))
  }
})

/** Ways to send outside of a hook; each has to leave by itself, with nothing sent after it. */
const PLACES: Record<string, (run: () => void) => unknown> = {
  'the top level': (run) => run(),
  'a timer': (run) => setTimeout(run, 1),
  'an immediate': (run) => setImmediate(run),
  'a microtask': (run) => queueMicrotask(run),
  'a promise': (run) => Promise.resolve().then(run),
  'process.nextTick': (run) => process.nextTick(run),
  'an async function, after a turn of the event loop': async (run) => {
    await immediate()
    run()
  },
}

for (const [name, place] of Object.entries(PLACES)) {
  test.serial(`a message is sent from ${name}`, async (t) => {
    const { server, events } = startNoted()
    const { client, uuid } = await known(server, events)
    place(() => {
      send(uuid, TEXT, 'one')
      sendAll(TEXT, 'two')
    })
    t.deepEqual(await client.texts(2), ['one', 'two'])
  })

  test.serial(`a message is sent from ${name}, begun inside of the hook`, async (t) => {
    hook((uuid, type, event) => {
      if (type !== EventType.Text) return
      send(uuid, type, `${event.data} at once`)
      place(() => send(uuid, type, `${event.data} later`))
    })
    const one = await client(start())
    one.send('question')
    t.deepEqual(await one.texts(2), ['question at once', 'question later'])
  })
}

test.serial('a hook sends to the socket that it is told of, from its Connect on', async (t) => {
  hook((uuid, type, event) => {
    if (type === EventType.Connect) send(uuid, TEXT, 'Howdy...')
    if (type === EventType.Text) send(uuid, TEXT, event.data.toUpperCase())
  })
  const one = await client(start())
  one.send('hello')
  t.deepEqual(await one.texts(2), ['Howdy...', 'HELLO'])
})

test.serial('a hook sends to other sockets: a broadcast server', async (t) => {
  hook((uuid, type, event) => {
    if (type === EventType.Connect) sendAll(TEXT, 'somebody came', uuid)
    else sendAll(event.kind, event.data, uuid)
  })
  const server = start()
  const first = await client(server)
  const second = await client(server)
  t.is(await first.text(), 'somebody came')
  second.send('hi')
  t.is(await first.text(), 'hi')
  first.send(Buffer.from([1]))
  t.deepEqual(await second.receive(), { data: Buffer.from([1]), binary: true })
  t.is(first.left + second.left, 0)
})

test.serial('a send does not wait for the end of a long turn', async (t) => {
  // The echo leaves 1 ms after it was sent at the latest, although the thread goes on: checked at each send.
  const { server, events } = startNoted()
  const { client: one, uuid } = await known(server, events)
  send(uuid, TEXT, 'first')
  busy(5)
  send(uuid, TEXT, 'second')
  busy(50)
  t.is(stats().messagesOut, 2, 'both left while this thread was busy')
  t.deepEqual(await one.texts(2), ['first', 'second'])
})
