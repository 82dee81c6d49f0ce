// A server's life: where it listens, how it is joined, and that it can be started again.

import { once } from 'node:events'
import { createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import test from 'ava'
import pocketsocket, {
  EventType,
  hook,
  runBlockingServer,
  runServer,
  Server,
  send,
  shutdownServer,
  stats,
} from 'pocketsocket'
import { Client } from './support/client.js'
import { Events } from './support/events.js'
import { cleanUp, client, start, startNoted } from './support/server.js'
import { lacks } from './support/skip.js'

cleanUp(test)

/** A port that somebody else has. */
async function takenPort() {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const address = other.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return { port: address.port, release: () => new Promise((resolve) => other.close(resolve)) }
}

test.serial('port 0 picks a free one, and the server accepts as soon as runServer has returned', async (t) => {
  const server = start()
  t.true(server instanceof Server)
  t.true(server.port > 0 && server.port < 65_536)
  t.is(server.address, '127.0.0.1')
  t.is(server.url, `http://127.0.0.1:${server.port}`)
  const page = await fetch(server.url)
  t.is(page.status, 200)
  t.true((await page.text()).includes('<html'))
})

test.serial('IPv6: the address is served, and its url has brackets', async (t) => {
  const present = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1'))
  if (lacks(t, present, 'this machine has no IPv6 loopback address')) return
  const { server, events } = startNoted({ address: '::1' })
  t.is(server.url, `http://[::1]:${server.port}`)
  const one = await client(server)
  one.send('over IPv6')
  t.is((await events.first(EventType.Text)).data, 'over IPv6')
  t.is((await events.first(EventType.Connect)).request.remoteAddress, '::1')
})

test.serial('an unspecified address is served, and its url is one that a browser can open', async (t) => {
  const server = start({ address: '0.0.0.0' })
  t.is(server.address, '0.0.0.0')
  t.is(server.url, `http://127.0.0.1:${server.port}`)
  t.is((await fetch(`${server.url}/health`)).status, 200)
})

test.serial('a name is resolved', async (t) => {
  const server = start({ address: 'localhost' })
  t.true(['127.0.0.1', '::1'].includes(server.address))
  t.is((await fetch(`${server.url}/health`)).status, 200)
})

test.serial('a taken port throws at once, and a later start succeeds', async (t) => {
  const { port, release } = await takenPort()
  const error = t.throws(() => runServer('127.0.0.1', port), { instanceOf: Error, code: 'EADDRINUSE' })
  t.true(error?.message.includes(`127.0.0.1:${port}`), error?.message)
  t.is(stats().threads, 0)
  await release()
  t.is(runServer('127.0.0.1', port).port, port)
})

test.serial('an address that is none, or not of this machine, throws', (t) => {
  t.throws(() => runServer('no such name.invalid', 0), { code: 'ERR_INVALID_ADDRESS' })
  // RFC 5737: for documentation, never assigned.
  t.throws(() => runServer('192.0.2.1', 0), { code: 'EADDRNOTAVAIL' })
})

test.serial('equal settings join the server that runs, also by its real port; others throw', async (t) => {
  const first = runServer('127.0.0.1', 0, { maxPayload: 5000 })
  const same = runServer({ address: '127.0.0.1', port: 0, maxPayload: 5000 })
  t.is(same.port, first.port)
  t.is(runServer('127.0.0.1', first.port, { maxPayload: 5000 }).port, first.port)
  const other = first.port === 65_535 ? 1024 : first.port + 1
  for (const start of [
    () => runServer('127.0.0.1', 0),
    () => runServer('127.0.0.1', 0, { maxPayload: 5001 }),
    () => runServer('127.0.0.1', other, { maxPayload: 5000 }),
    () => runServer('0.0.0.0', 0, { maxPayload: 5000 }),
  ]) {
    const error = t.throws(start, { instanceOf: Error, code: 'ERR_SERVER_RUNNING' })
    t.true(error?.message.includes(`127.0.0.1:${first.port}`), error?.message)
  }
  const one = await client(first)
  t.is(first.stats().connections, stats().connections)
  await one.close()
})

test.serial('a server that is being shut down cannot be joined', async (t) => {
  const { server } = startNoted()
  await client(server)
  const down = shutdownServer()
  const error = t.throws(() => start(), { code: 'ERR_SERVER_RUNNING' })
  t.true(error?.message.includes('shut down'), error?.message)
  await down
  t.not(start().port, 0)
})

test.serial('20 restarts in one process, on one port, with clients each time', async (t) => {
  const events = new Events((uuid, type, event) => send(uuid, type, event))
  hook(events.hook)
  let port = 0
  for (let round = 0; round < 20; round++) {
    const server = runServer('127.0.0.1', port)
    port = server.port
    const clients = await Promise.all(Array.from({ length: 5 }, () => client(server)))
    for (const one of clients) one.send(`round ${round}`)
    for (const one of clients) t.is(await one.text(), `round ${round}`)
    t.is(stats().opened, 5)
    await server.close()
    for (const one of clients) t.is((await one.closed).code, 1001)
    t.is(events.of(EventType.Close).length, 5 * (round + 1))
    t.is(stats().threads, 0)
  }
  t.is(new Set(events.uuids).size, 100, 'no uuid came twice')
})

test.serial('runBlockingServer settles when the server has shut down', async (t) => {
  const events = new Events()
  hook(events.hook)
  let settled = false
  const blocking = runBlockingServer('127.0.0.1', 0).then(() => {
    settled = true
  })
  const server = start()
  const one = await client(server)
  await events.first(EventType.Connect)
  t.false(settled)
  await shutdownServer()
  await blocking
  t.is((await one.closed).code, 1001)
  t.is(events.of(EventType.Close).length, 1, 'after the last Close')
})

test.serial('runBlockingServer rejects what runServer throws', async (t) => {
  const { port, release } = await takenPort()
  await t.throwsAsync(runBlockingServer('127.0.0.1', port), { code: 'EADDRINUSE' })
  await t.throwsAsync(runBlockingServer({ port: -1 }), { instanceOf: RangeError, code: 'ERR_INVALID_OPTION' })
  await release()
})

test.serial('await using shuts the server down at the end of its block', async (t) => {
  let one: Client
  {
    await using server = start()
    one = await Client.connect(server.url)
    t.is(stats().threads, server.stats().threads)
  }
  t.is(stats().threads, 0)
  t.is((await one.closed).code, 1001)
})

test.serial('the default export is the namespace, as in the seed', async (t) => {
  pocketsocket.hook((uuid, eventType, event) => {
    if (eventType === 0) {
      pocketsocket.send(uuid, 1, 'Howdy...')
      return
    }
    pocketsocket.sendAll(event.kind, event.data, uuid)
  })
  const server = pocketsocket.runServer({ port: 0 })
  const one = await client(server)
  const two = await client(server)
  t.is(await one.text(), 'Howdy...')
  t.is(await two.text(), 'Howdy...')
  one.send('to the others')
  t.is(await two.text(), 'to the others')
  await pocketsocket.shutdownServer()
})
