// `pause` and `resume`: for a hook that is behind with one socket.

import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import pocketsocket, {
  closeRemoveClient,
  EventType,
  hook,
  MessageKind,
  pause,
  resume,
  send,
  shutdownServer,
  stats,
} from 'pocketsocket'
import { fixturePath } from './support/child.js'
import type { Client } from './support/client.js'
import { Events } from './support/events.js'
import { cleanUp, client, known, start, startNoted } from './support/server.js'
import { eventually, within } from './support/wait.js'

cleanUp(test)

/** Pauses a socket; resolves once its I/O thread has done so: what is sent follows in the order of the calls. */
async function paused(uuid: string, by: Client): Promise<void> {
  if (pause(uuid) !== 0) throw new Error('it is open')
  send(uuid, MessageKind.Text, 'paused')
  if ((await by.text()) !== 'paused') throw new Error('another text came')
}

test.serial('a paused socket is not read and its sender is held up; resumed, all comes in order', async (t) => {
  const { server, events } = startNoted()
  const one = await known(server, events)
  const other = await known(server, events)
  await paused(one.uuid, one.client)
  const filler = 'x'.repeat(16 * 1024)
  const count = 2000
  for (let n = 0; n < count; n++) one.client.send(`${n}:${filler}`)
  // What the system's buffers do not take stays at the client.
  let before = -1
  await eventually(() => {
    const now = one.client.socket.bufferedAmount
    const still = now === before
    before = now
    return still && now > 0
  }, 'the sender is held up')
  other.client.send('from another')
  await events.first(EventType.Text, other.uuid)
  t.is(events.of(EventType.Text, one.uuid).length, 0)
  t.is(stats().messagesIn, 1)
  send(one.uuid, MessageKind.Text, 'still sent to')
  t.is(await one.client.text(), 'still sent to')

  t.is(resume(one.uuid), 0)
  const texts = await events.some(EventType.Text, count, one.uuid)
  t.deepEqual(
    texts.map(({ data }) => Number(data.split(':')[0])),
    Array.from({ length: count }, (_, n) => n),
  )
})

test.serial('a hook that pauses a socket while it works on a message gets all of them in order', async (t) => {
  const stored: string[] = []
  let working = Promise.resolve()
  hook((uuid, type, event) => {
    if (type !== EventType.Text) return
    pause(uuid)
    working = working.then(async () => {
      await new Promise(setImmediate)
      stored.push(event.data)
      resume(uuid)
    })
  })
  const one = await client(start())
  const texts = Array.from({ length: 3000 }, (_, n) => String(n))
  for (const text of texts) one.send(text)
  await eventually(() => stored.length === texts.length, 'all is stored')
  t.deepEqual(stored, texts)
})

test.serial('the statuses are 0, and 1 for a socket that is not open here; both are in the namespace', async (t) => {
  const stranger = '01234567-89ab-8def-8123-456789abcdef'
  t.is(pause(stranger), 1, 'without a server')
  const { server, events } = startNoted()
  const { client: one, uuid } = await known(server, events)
  for (const call of [pause, resume]) {
    for (const wrong of [stranger, '', 'no uuid', `${uuid} `]) t.is(call(wrong), 1)
    t.is(call(uuid), 0)
    t.is(call(uuid), 0, 'twice')
    t.throws(() => call(undefined as never), { instanceOf: TypeError, code: 'ERR_INVALID_UUID' })
  }
  t.is(pocketsocket.pause, pause)
  t.is(pocketsocket.resume, resume)
  await one.close()
  await events.first(EventType.Close)
  t.is(pause(uuid), 1)
  t.is(resume(uuid), 1)
})

test.serial('a paused socket that is closed ends clean, and so does one at the shutdown', async (t) => {
  const { server, events } = startNoted()
  const closed = await known(server, events)
  const shut = await known(server, events)
  for (const each of [closed, shut]) {
    await paused(each.uuid, each.client)
    each.client.send('not read any more')
  }
  t.is(closeRemoveClient(closed.uuid, 4000, 'bye'), 0)
  t.deepEqual(await within(closed.client.closed, 'its end'), { code: 4000, reason: 'bye' })
  t.like(await events.first(EventType.Close, closed.uuid), { code: 4000, reason: 'bye', wasClean: true })
  await shutdownServer({ timeout: 30_000 })
  t.is((await within(shut.client.closed, 'its end')).code, 1001)
  t.like(await events.first(EventType.Close, shut.uuid), { code: 1001, wasClean: true })
})

test.serial('a paused socket whose hook leaves is read again, and the next hook gets what waited', async (t) => {
  hook(null)
  const worker = new Worker(fixturePath('hook-worker'), { workerData: { mode: 'tell' } })
  t.teardown(() => worker.terminate())
  await once(worker, 'message')
  const connected = once(worker, 'message')
  const one = await client(start())
  const [[uuid]] = (await connected) as [[string]]
  await paused(uuid, one)
  one.send('while it was paused')
  const events = new Events()
  hook(events.hook)
  worker.postMessage('unhook')
  t.true((await events.first(EventType.Connect, uuid)).resumed)
  t.is((await events.first(EventType.Text, uuid)).data, 'while it was paused')
})

test.serial('a paused socket is neither idle nor pinged', async (t) => {
  const { server, events } = startNoted({ idleTimeout: 1, pingInterval: 0 })
  const quiet = await known(server, events)
  const idle = await known(server, events)
  await paused(quiet.uuid, quiet.client)
  await events.first(EventType.Close, idle.uuid)
  t.is(events.of(EventType.Close, quiet.uuid).length, 0)
  t.is(resume(quiet.uuid), 0)
  t.is((await events.first(EventType.Close, quiet.uuid)).code, 1001, 'then it is')
})
