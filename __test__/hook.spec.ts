// Hooks come, go, are replaced, and fail.

import test from 'ava'
import { closeRemoveClient, EventType, hook, MessageKind, send, stats } from 'pocketsocket'
import { Events } from './support/events.js'
import { cleanUp, client, known, start, startNoted } from './support/server.js'
import { eventually } from './support/wait.js'

cleanUp(test)

/** What a socket's events were, in short. */
const told = (events: Events) => events.all.map(({ type, event }) => (type === EventType.Text ? event.data : type))

test.serial('what a hook returns is ignored', async (t) => {
  const values = [1, 0, true, false, 'close', null, {}, Promise.resolve(1)]
  const events: Events = new Events(() => values[events.all.length - 1])
  hook(events.hook)
  const one = await client(start())
  for (let n = 1; n < values.length; n++) one.send(String(n))
  await events.until(() => events.all.length === values.length, 'every event')
  t.deepEqual(told(events), [0, '1', '2', '3', '4', '5', '6', '7'])
  t.is(stats().connections, 1)
})

test.serial('a hook that is replaced: the next one gets what follows, and nothing is sent again', async (t) => {
  const { server, events: first } = startNoted()
  const { client } = await known(server, first)
  client.send('one')
  await first.first(EventType.Text)
  const second = new Events()
  hook(second.hook)
  client.send('two')
  await second.first(EventType.Text)
  t.deepEqual(told(first), [0, 'one'])
  t.deepEqual(told(second), ['two'])
})

test.serial('a hook may be replaced from inside, in the middle of a batch', async (t) => {
  const second = new Events()
  const first = new Events((_, type, event) => {
    if (type === EventType.Text && event.data === '5') hook(second.hook)
  })
  hook(first.hook)
  const one = await client(start())
  for (let n = 0; n < 20; n++) one.send(String(n))
  await second.until(() => second.all.length >= 14, 'the rest')
  t.deepEqual(told(first), [0, '0', '1', '2', '3', '4', '5'])
  t.deepEqual(
    told(second),
    Array.from({ length: 14 }, (_, n) => String(n + 6)),
  )
})

test.serial('without a hook events are discarded and counted; the sockets stay', async (t) => {
  const { server, events } = startNoted()
  const { client: one, uuid } = await known(server, events)
  hook(null)
  const before = stats().discarded
  for (let n = 0; n < 10; n++) one.send('to nobody')
  await eventually(() => stats().messagesIn === 10 && stats().discarded >= before + 10, 'all were counted')
  t.is(events.of(EventType.Text).length, 0)
  t.is(send(uuid, MessageKind.Text, 'sending goes on'), 0)
  t.is(await one.text(), 'sending goes on')

  const next = new Events()
  hook(next.hook)
  const connect = await next.first(EventType.Connect)
  t.true(connect.resumed)
  t.is(connect.request.url, '/')
  t.is(connect.request.remoteAddress, '127.0.0.1')
  one.send('heard again')
  await next.first(EventType.Text)
  t.deepEqual(told(next), [0, 'heard again'])
  t.is(next.all[0]?.uuid, uuid)
})

test.serial('a socket that came and went while events were discarded is never told of', async (t) => {
  const { server } = startNoted()
  hook(null)
  const gone = await client(server)
  await gone.close()
  await eventually(() => stats().connections === 0, 'it has ended')
  const events = new Events()
  hook(events.hook)
  const { uuid } = await known(server, events)
  t.deepEqual([...new Set(events.all.map((event) => event.uuid))], [uuid])
})

test.serial('a hook that takes itself away in the middle of a batch: the rest is discarded and counted', async (t) => {
  const events = new Events((_, type, event) => {
    if (type === EventType.Text && event.data === '5') hook(null)
  })
  hook(events.hook)
  const one = await client(start())
  await events.first(EventType.Connect)
  const before = stats().discarded
  for (let n = 0; n < 20; n++) one.send(String(n))
  await eventually(() => stats().discarded - before >= 14, 'the rest was counted')
  t.deepEqual(told(events), [0, '0', '1', '2', '3', '4', '5'])
})

test.serial(
  'a hook taken away and set again in the middle of a batch: nothing comes twice or out of order',
  async (t) => {
    const count = 300
    const seen: number[] = []
    const connects: boolean[] = []
    const set = () =>
      hook((_, type, event) => {
        if (type === EventType.Connect) connects.push(event.resumed)
        if (type !== EventType.Text && type !== EventType.Binary) return
        seen.push(Number(event.data))
        if (seen.length % 10 === 5) {
          hook(null)
          set()
        }
      })
    set()
    const one = await client(start())
    for (let n = 0; n < count; n++) one.send(n % 2 === 0 ? String(n) : Buffer.from(String(n)))
    await eventually(() => seen.length + stats().discarded >= count, 'all were told of or discarded')
    one.send(String(count))
    await eventually(() => seen.at(-1) === count, 'the last one')
    t.deepEqual(
      seen,
      [...new Set(seen)].sort((a, b) => a - b),
    )
    t.is(connects[0], false)
    t.true(connects.length > 1)
    t.true(connects.slice(1).every((resumed) => resumed))
  },
)

test.serial(
  'hooks that come and go under a flood: each gets Connect first, and nothing twice or out of order',
  async (t) => {
    const count = 20_000
    const seen: number[] = []
    const faults: string[] = []
    const next = () => {
      let introduced = false
      hook((_, type, event) => {
        if (type === EventType.Connect) introduced = true
        if (type !== EventType.Text) return
        if (!introduced) faults.push(`${event.data} before its Connect`)
        if (Number(event.data) <= (seen.at(-1) ?? -1)) faults.push(`${event.data} after ${seen.at(-1)}`)
        seen.push(Number(event.data))
      })
    }
    next()
    const one = await client(start())
    for (let n = 0; n < count; n++) one.send(String(n))
    // In the moment without a hook a shard may discard what waits: that is counted, with the Connects for nobody.
    while (seen.length + stats().discarded < count && faults.length === 0) {
      await new Promise(setImmediate)
      hook(null)
      next()
    }
    t.deepEqual(faults, [])
    one.send(String(count))
    await eventually(() => seen.at(-1) === count, 'the last one')
  },
)

test.serial(
  'a hook may close the socket that it is told of: what it had not begun still comes, Close last',
  async (t) => {
    const events = new Events((uuid, type, event) => {
      if (type === EventType.Text && event.data === '0') closeRemoveClient(uuid, 4000, 'enough')
    })
    hook(events.hook)
    const one = await client(start())
    one.send('0')
    t.deepEqual(await one.closed, { code: 4000, reason: 'enough' })
    await events.first(EventType.Close)
    t.deepEqual(told(events), [0, '0', 3])
  },
)
