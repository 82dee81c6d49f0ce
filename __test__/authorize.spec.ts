// Who may connect: the application's `authorize`, proxies that are trusted, and how many connections an address may have.

import test from 'ava'
import { type AuthorizeRequest, EventType, hook, send, stats, type Verdict } from 'pocketsocket'
import { fixture } from './support/child.js'
import { Client } from './support/client.js'
import { Events } from './support/events.js'
import { handshake } from './support/http.js'
import { cleanUp, client, start, startNoted } from './support/server.js'

cleanUp(test)

test.serial('authorize sees the request, and what it says goes with the socket', async (t) => {
  const asked: AuthorizeRequest[] = []
  const { server, events } = startNoted({
    authorize: (request) => {
      asked.push(request)
      return { protocol: 'v2', data: 'user 7\n日本' }
    },
  })
  const socket = await Client.connect(`${server.url}/a?b=c`, { headers: { cookie: 'x=y' } }, ['v1', 'v2'])
  t.is(socket.socket.protocol, 'v2')
  const { request } = await events.first(EventType.Connect)
  t.is(request.data, 'user 7\n日本')
  t.is(request.protocol, 'v2')
  t.is(asked.length, 1)
  t.is(asked[0]?.url, '/a?b=c')
  t.is(asked[0]?.headers.cookie, 'x=y')
  t.is(asked[0]?.remoteAddress, '127.0.0.1')
  t.deepEqual(asked[0]?.protocols, ['v1', 'v2'])
  t.deepEqual(request.headers, asked[0]?.headers)
  const uuid = await events.uuid()
  send(uuid, 1, 'by name')
  t.is(await socket.text(), 'by name', 'its uuid is right, whatever its data')

  // Another hook of the same thread gets it too, without headers.
  hook(null)
  const later = new Events()
  hook(later.hook)
  const again = await later.first(EventType.Connect)
  t.is(again.request.data, 'user 7\n日本')
  t.true(again.resumed)
  socket.terminate()
})

test.serial('each verdict does what it says, at once or later', async (t) => {
  const verdicts: Record<string, Verdict> = {
    '/true': true,
    '/false': false,
    '/data': { data: 'd' },
    '/none': { protocol: '' },
    '/401': { status: 401, headers: { 'WWW-Authenticate': 'Basic', 'Set-Cookie': ['a=1', 'b=2'] }, body: 'who?' },
    '/bytes': { status: 418, body: Buffer.from('é') },
    '/204': { status: 204, body: 'not sent' },
    '/302': { status: 302, headers: { location: '/elsewhere' } },
  }
  for (const later of [false, true]) {
    const { server } = startNoted({
      authorize: ({ url }) => (later ? Promise.resolve(verdicts[url] as Verdict) : (verdicts[url] as Verdict)),
    })
    const ask = async (path: string) => {
      const answer = await handshake(server.url + path)
      answer.socket?.destroy()
      return answer
    }
    for (const path of ['/true', '/data', '/none']) t.is((await ask(path)).status, 101, path)
    t.is((await ask('/false')).status, 403)
    const login = await ask('/401')
    t.is(login.status, 401)
    t.is(login.headers['www-authenticate'], 'Basic')
    t.deepEqual(login.headers['set-cookie'], ['a=1', 'b=2'])
    t.is(login.body, 'who?')
    t.is((await ask('/bytes')).body, 'é')
    t.is((await ask('/204')).body, '')
    t.is((await ask('/302')).headers.location, '/elsewhere')
    t.is(stats().refused, 3, '403, 401 and 418')
    await server.close()
  }
})

test.serial('without authorize the data is empty, and the first subprotocol is agreed on', async (t) => {
  const { server, events } = startNoted()
  const socket = await client(server, {}, ['v1', 'v2'])
  t.is(socket.socket.protocol, 'v1')
  t.is((await events.first(EventType.Connect)).request.data, '')
})

test.serial('handshakes are decided while a hook takes nothing, and without a hook', async (t) => {
  const server = start({ authorize: () => true })
  const told: string[] = []
  hook(
    (uuid) => {
      told.push(uuid)
      return new Promise(() => {})
    },
    { maxPending: 1 },
  )
  for (let n = 0; n < 5; n++) await client(server)
  t.is(stats().connections, 5)
  t.is(told.length, 1, 'the hook stands at its first event')
  hook(null)
  await client(server)
  t.is(stats().connections, 6)
})

test.serial('a client that leaves before its answer opens nothing', async (t) => {
  let answer = (_: Verdict) => {}
  let asked = () => {}
  const wasAsked = new Promise<void>((resolve) => {
    asked = resolve
  })
  const { server, events } = startNoted({
    authorize: ({ url }) => {
      if (url !== '/leaves') return true
      asked()
      return new Promise<Verdict>((resolve) => {
        answer = resolve
      })
    },
  })
  const leaving = Client.connect(`${server.url}/leaves`, { handshakeTimeout: 100 })
  await wasAsked
  await t.throwsAsync(leaving)
  answer({ data: 'too late' })
  const next = await client(server)
  t.is(next.socket.readyState, 1)
  await events.uuid()
  t.is(stats().opened, 1)
  t.is((await events.first(EventType.Connect)).request.data, '')
})

test.serial('a thread that joins gives an authorize as well, and the first one decides', async (t) => {
  const server = start({ authorize: () => ({ data: 'first' }) })
  const joined = start({ port: server.port, authorize: () => false })
  t.is(joined.url, server.url)
  t.throws(() => start({ port: server.port }), { code: 'ERR_SERVER_RUNNING' })
  const events = new Events()
  hook(events.hook)
  await client(server)
  t.is((await events.first(EventType.Connect)).request.data, 'first')
})

test.serial('the next server asks its own authorize', async (t) => {
  const first = start({ authorize: () => false })
  t.is((await handshake(first.url)).status, 403)
  await first.close()
  const second = start({ authorize: () => ({ status: 402 }) })
  t.is((await handshake(second.url)).status, 402)
  await second.close()
  const third = start()
  const answer = await handshake(third.url)
  answer.socket?.destroy()
  t.is(answer.status, 101)
})

test('what authorize throws, rejects, or gives that is none surfaces, and the client gets 500', async (t) => {
  const program = fixture(t, 'authorizing')
  const { url } = await program.told<{ url: string }>()
  t.is((await handshake(`${url}/throws`)).status, 500)
  t.deepEqual(await program.told(), { error: 'authorize throws' })
  t.is((await handshake(`${url}/rejects`)).status, 500)
  t.deepEqual(await program.told(), { rejection: 'authorize rejects' })
  for (const path of [
    ...['undefined', 'number', 'text', 'empty', 'unknown', 'both', 'status', 'status-text', 'protocol', 'data', 'long'],
    ...['header', 'split', 'reserved', 'headers', 'body', 'large'],
  ]) {
    t.is((await handshake(`${url}/${path}`)).status, 500, path)
    t.deepEqual(await program.told(), { error: 'ERR_INVALID_VERDICT' }, path)
    t.is((await handshake(`${url}/later/${path}`)).status, 500, path)
    t.deepEqual(await program.told(), { rejection: 'ERR_INVALID_VERDICT' }, path)
  }
  const fine = await handshake(`${url}/fine`)
  fine.socket?.destroy()
  t.is(fine.status, 101, 'the server lives on')
})

test('a thread that stands still, or an answer that never comes, is 503 after handshakeTimeout', async (t) => {
  const program = fixture(t, 'authorizing')
  const { url } = await program.told<{ url: string }>()
  const never = await handshake(`${url}/never`)
  t.is(never.status, 503)
  t.is(never.headers['retry-after'], '5')
  const [stalling, beside] = await Promise.all([handshake(`${url}/stalls`), handshake(`${url}/fine`)])
  t.is(stalling.status, 503)
  t.is(beside.status, 503, 'the thread never came to it')
  t.is((await fetch(url)).status, 200, 'pages need no thread')
  const fine = await handshake(`${url}/fine`)
  fine.socket?.destroy()
})

test('when the thread that authorizes has ended clients get 503, and nothing hangs', async (t) => {
  const program = fixture(t, 'authorizing', ['worker'])
  const { url } = await program.told<{ url: string }>()
  const before = await handshake(`${url}/fine`)
  before.socket?.destroy()
  t.is(before.status, 101)
  const [exit, never] = await Promise.all([handshake(`${url}/exit`), handshake(`${url}/never`)])
  t.is(exit.status, 503)
  t.is(never.status, 503)
  t.is((await handshake(`${url}/fine`)).status, 503)
  t.is((await fetch(url)).status, 200)
})

test.serial('a proxy that is trusted tells the address, to authorize and to the hook', async (t) => {
  const told: string[] = []
  const { server, events } = startNoted({
    trustProxy: 1,
    authorize: ({ remoteAddress }) => {
      told.push(remoteAddress)
      return true
    },
  })
  await client(server, { headers: { 'x-forwarded-for': '203.0.113.9, 192.0.2.7' } })
  t.is((await events.first(EventType.Connect)).request.remoteAddress, '192.0.2.7')
  t.deepEqual(told, ['192.0.2.7'])
})

test.serial('an address has as many connections as it may, and others are not touched', async (t) => {
  const { server, events } = startNoted({ trustProxy: ['127.0.0.1'], maxConnectionsPerAddress: 2 })
  const from = (address: string) => ({ headers: { 'x-forwarded-for': address } })
  const first = await client(server, from('192.0.2.7'))
  await client(server, from('192.0.2.7'))
  t.is((await handshake(server.url, { 'x-forwarded-for': '192.0.2.7' })).status, 429)
  const { error } = await events.first(EventType.Error)
  t.is(error.code, 'ERR_ADDRESS_FULL')
  t.true(error.message.startsWith('192.0.2.7 has 2 connections'), error.message)
  await client(server, from('192.0.2.8'))
  first.socket.close()
  await first.closed
  await events.first(EventType.Close)
  let status = 429
  while (status === 429) {
    const answer = await handshake(server.url, { 'x-forwarded-for': '192.0.2.7' })
    answer.socket?.destroy()
    status = answer.status
  }
  t.is(status, 101)
})
