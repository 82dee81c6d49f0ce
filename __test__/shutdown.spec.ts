// The end of a server: everybody is told, nobody can hold it up.

import test from 'ava'
import { closeRemoveClient, EventType, hook, MessageKind, send, shutdownServer, stats } from 'pocketsocket'
import { Events } from './support/events.js'
import { RawClient } from './support/raw.js'
import { cleanUp, client, known, start, startNoted } from './support/server.js'
import { busy } from './support/wait.js'

cleanUp(test)

test.serial('without a server it resolves at once', async (t) => {
  const started = performance.now()
  await shutdownServer()
  await shutdownServer({ timeout: 0 })
  t.true(performance.now() - started < 500)
})

test.serial('a server that nobody has connected to stops in a moment, however often', async (t) => {
  for (let n = 0; n < 50; n++) {
    const server = start()
    const started = performance.now()
    await server.close()
    const took = performance.now() - started
    // Its own timeout of 5,000 ms would hide that it was not told of the end.
    if (took > 2000) t.fail(`shutdown ${n} took ${took} ms`)
    t.is(stats().threads, 0)
  }
})

test.serial('it resolves after the last Close was delivered, with 1001 to each client', async (t) => {
  const { server, events } = startNoted()
  const clients = await Promise.all(Array.from({ length: 50 }, () => client(server)))
  await events.some(EventType.Connect, 50)
  await shutdownServer()
  const closes = events.of(EventType.Close)
  t.is(closes.length, 50)
  t.true(closes.every(({ code, wasClean }) => code === 1001 && wasClean))
  for (const one of clients) t.is((await one.closed).code, 1001)
  t.is(stats().threads, 0)
})

test.serial('with a slow hook too: every message and every Close comes before it resolves', async (t) => {
  let texts = 0
  let closes = 0
  hook((_, type) => {
    busy(1)
    if (type === EventType.Text) texts++
    if (type === EventType.Close) closes++
  })
  const server = start()
  const clients = await Promise.all(Array.from({ length: 10 }, () => client(server)))
  for (const one of clients) for (let n = 0; n < 20; n++) one.send('x')
  for (const one of clients) one.socket.close()
  for (const one of clients) await one.closed
  t.true(texts < 200, 'the hook is behind')
  await shutdownServer()
  t.deepEqual([texts, closes], [200, 10])
})

test.serial('what was sent before it goes out first', async (t) => {
  const { server, events } = startNoted()
  const { client: one, uuid } = await known(server, events)
  send(uuid, MessageKind.Text, 'the last words')
  await shutdownServer()
  t.is(await one.text(), 'the last words')
})

test.serial('a second call awaits the same end', async (t) => {
  const { server, events } = startNoted()
  await client(server)
  await events.first(EventType.Connect)
  await Promise.all([shutdownServer(), server.close(), shutdownServer({ timeout: 3000 })])
  t.is(events.of(EventType.Close).length, 1)
})

test.serial('it may be called from inside the hook', async (t) => {
  let down: Promise<void> | undefined
  const events = new Events((...[, type]) => {
    if (type === EventType.Text) down = shutdownServer()
  })
  hook(events.hook)
  const one = await client(start())
  one.send('stop')
  t.is((await one.closed).code, 1001)
  await events.first(EventType.Text)
  await down
  t.deepEqual(
    events.all.map(({ type }) => type),
    [0, 1, 3],
  )
})

test.serial('a client that never answers is cut at the timeout, and its Close is told', async (t) => {
  const { server, events } = startNoted()
  const raw = await RawClient.upgrade(server.port)
  await events.uuid()
  const started = performance.now()
  await shutdownServer({ timeout: 300 })
  const took = performance.now() - started
  t.true(took >= 290 && took < 3000, `${took} ms`)
  t.deepEqual(events.of(EventType.Close), [
    { kind: EventType.Close, data: '', code: 1001, reason: 'server shutdown', wasClean: false },
  ])
  raw.destroy()
})

test.serial('a client that was being closed when it began keeps the code that it was sent', async (t) => {
  const { server, events } = startNoted()
  const raw = await RawClient.upgrade(server.port)
  closeRemoveClient(await events.uuid(), 4001, 'out')
  await shutdownServer({ timeout: 200 })
  t.deepEqual(
    events.of(EventType.Close).map(({ code, wasClean }) => [code, wasClean]),
    [[4001, false]],
  )
  raw.destroy()
})

test.serial('half a handshake and an idle TCP connection do not hold it up', async (t) => {
  const { server } = startNoted()
  const half = await RawClient.connect(server.port)
  half.socket.write('GET / HTTP/1.1\r\nHost:')
  const idle = await RawClient.connect(server.port)
  const started = performance.now()
  await shutdownServer()
  t.true(performance.now() - started < 2000)
  half.destroy()
  idle.destroy()
})

test.serial('nobody can connect any more once it has begun', async (t) => {
  const { server, events } = startNoted()
  const raw = await RawClient.upgrade(server.port)
  await events.uuid()
  const down = shutdownServer({ timeout: 300 })
  // The socket that does not answer keeps the server up meanwhile.
  raw.socket.on('data', () => {})
  await raw.serverFrame()
  const late = await Promise.allSettled([client(server)])
  const refused = late[0]?.status === 'rejected' || events.of(EventType.Connect).length === 1
  t.true(refused)
  await down
  await t.throwsAsync(client(server))
  raw.destroy()
})
