// Hooks in worker threads: one server, whose sockets are shared out among them.

import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import test, { type ExecutionContext } from 'ava'
import { clients, EventType, hook, MessageKind, send, sendAll, stats } from 'pocketsocket'
import type { Told } from './fixtures/hook-worker.js'
import { fixturePath } from './support/child.js'
import { Events } from './support/events.js'
import { cleanUp, client, start, startNoted } from './support/server.js'
import { eventually, Queue } from './support/wait.js'

cleanUp(test)

interface Hooked {
  readonly worker: Worker
  readonly told: Queue<Told>
  readonly all: Told[]
}

async function hooked(t: ExecutionContext, mode: 'echo' | 'tell' | 'busy'): Promise<Hooked> {
  const worker = new Worker(fixturePath('hook-worker'), { workerData: { mode } })
  t.teardown(() => worker.terminate())
  await once(worker, 'message')
  const told = new Queue<Told>()
  const all: Told[] = []
  worker.on('message', (event: Told) => {
    all.push(event)
    told.push(event)
  })
  return { worker, told, all }
}

test.serial('a worker hooks, and serves sockets of a server that the main thread has started', async (t) => {
  hook(null)
  const { worker } = await hooked(t, 'echo')
  const one = await client(start())
  one.send('hello')
  t.is(await one.text(), `${worker.threadId}:hello`)
})

test.serial('the main thread sends to sockets whose hook is in a worker', async (t) => {
  hook(null)
  const { told } = await hooked(t, 'tell')
  const server = start()
  const one = await client(server)
  const [uuid, type] = await told.next('its Connect')
  t.is(type, EventType.Connect)
  t.deepEqual(clients(), [uuid])
  t.is(send(uuid, MessageKind.Text, 'to one'), 0)
  t.is(sendAll(MessageKind.Text, 'to all'), 0)
  t.deepEqual(await one.texts(2), ['to one', 'to all'])
})

test.serial('sockets are shared out among the threads that hook, and each keeps its own', async (t) => {
  hook(null)
  const workers = [await hooked(t, 'echo'), await hooked(t, 'echo')]
  const server = start()
  const served = new Map<string, number>()
  for (let n = 0; n < 20; n++) {
    const one = await client(server)
    for (let m = 0; m < 5; m++) one.send(String(m))
    const answers = await one.texts(5)
    const thread = answers[0]?.split(':')[0] as string
    t.deepEqual(
      answers,
      [0, 1, 2, 3, 4].map((m) => `${thread}:${m}`),
    )
    served.set(thread, (served.get(thread) ?? 0) + 1)
  }
  for (const { worker } of workers) t.is(served.get(String(worker.threadId)), 10)
})

test.serial('a worker that takes its hook away: its sockets go to the other hooks, resumed', async (t) => {
  hook(null)
  const leaving = await hooked(t, 'tell')
  const server = start()
  const one = await client(server)
  const [uuid] = await leaving.told.next('its Connect')
  const events = new Events()
  hook(events.hook)
  const exit = once(leaving.worker, 'exit')
  leaving.worker.postMessage('unhook')
  const connect = await events.first(EventType.Connect, uuid)
  t.true(connect.resumed)
  one.send('to the new one')
  t.is((await events.first(EventType.Text, uuid)).data, 'to the new one')
  t.is(leaving.all.length, 1)
  const [code] = await exit
  t.is(code, 0, 'without its hook the worker ended by itself')
})

test.serial('the main thread takes its hook away: a worker gets its sockets', async (t) => {
  const { server, events } = startNoted()
  const one = await client(server)
  const uuid = await events.uuid()
  const { told } = await hooked(t, 'tell')
  one.send('to the main thread')
  await events.first(EventType.Text)
  hook(null)
  t.deepEqual(await told.next('its Connect'), [uuid, EventType.Connect, '/', true])
  one.send('to the worker')
  t.deepEqual(await told.next('its message'), [uuid, EventType.Text, 'to the worker', false])
  t.is(events.of(EventType.Text).length, 1)
  t.is(stats().discarded, 0)
})

test.serial(
  'a worker that is terminated in the middle of a busy hook: what it had not begun goes on elsewhere',
  async (t) => {
    hook(null)
    const dying = await hooked(t, 'busy')
    const server = start()
    const count = 200
    const sockets = 5
    const all = await Promise.all(Array.from({ length: sockets }, () => client(server)))
    for (let n = 0; n < count; n++) for (const [who, one] of all.entries()) one.send(`${who}:${n}`)
    await eventually(() => dying.all.length > 50, 'some were handled')
    await dying.worker.terminate()
    t.is(stats().connections, sockets, 'no socket has ended')

    const events = new Events()
    hook(events.hook)
    for (const one of all) one.send('the last')
    await events.until(() => events.all.filter(({ event }) => event.data === 'the last').length === sockets, 'the rest')
    for (const uuid of events.uuids) {
      const own = events.all.filter((told) => told.uuid === uuid)
      t.is(own[0]?.type, EventType.Connect)
      t.is(own.filter(({ type }) => type === EventType.Connect).length, 1)
      // The worker had begun some, of which the last words may not have reached us; the rest is complete and in order.
      const texts = own.slice(1, -1).map(({ event }) => event.data.toString())
      const first = count - texts.length
      const who = texts[0]?.split(':')[0]
      t.deepEqual(
        texts,
        Array.from({ length: texts.length }, (_, n) => `${who}:${first + n}`),
      )
      const before = dying.all.filter((told) => told[0] === uuid && told[1] === EventType.Text).length
      t.true(before <= first, `${before} were told of before, ${first} are gone`)
    }
    t.is(events.uuids.length, sockets)
    t.true(events.of(EventType.Connect).every(({ resumed }) => resumed))
    for (const one of all) one.terminate()
    await events.some(EventType.Close, sockets)
    t.is(events.of(EventType.Close).length, sockets)
  },
)

test.serial(
  'a socket that ends while its worker is terminated: its Close is told once, to the next hook',
  async (t) => {
    hook(null)
    const dying = await hooked(t, 'busy')
    const one = await client(start())
    for (let n = 0; n < 200; n++) one.send(String(n))
    await eventually(() => dying.all.length > 5, 'some were handled')
    one.terminate()
    await eventually(() => stats().connections === 0, 'the socket has ended')
    await dying.worker.terminate()
    t.false(dying.all.some(([, type]) => type === EventType.Close))
    const events = new Events()
    hook(events.hook)
    await events.first(EventType.Close)
    t.is(events.all[0]?.type, EventType.Connect)
    t.is(events.all.at(-1)?.type, EventType.Close)
    t.is(events.of(EventType.Close).length, 1)
  },
)

test.serial('50 workers are terminated under load: no crash, no socket lost, nothing out of order', async (t) => {
  t.timeout(60_000)
  const server = start()
  const all = await Promise.all(Array.from({ length: 10 }, () => client(server)))
  let sent = 0
  const timer = setInterval(() => {
    for (const one of all) one.send(String(sent))
    sent++
  }, 10)
  t.teardown(() => clearInterval(timer))
  hook(null)
  for (let round = 0; round < 50; round++) {
    const { worker, told, all: own } = await hooked(t, round % 2 === 0 ? 'tell' : 'busy')
    await told.next('an event')
    await worker.terminate()
    const first = new Map<string, EventType>()
    const last = new Map<string, number>()
    for (const [uuid, type, data] of own) {
      if (!first.has(uuid)) first.set(uuid, type)
      if (type !== EventType.Text) continue
      if (Number(data) <= (last.get(uuid) ?? -1)) t.fail(`${data} after ${last.get(uuid)}`)
      last.set(uuid, Number(data))
    }
    for (const type of first.values()) if (type !== EventType.Connect) t.fail(`event ${type} before Connect`)
  }
  clearInterval(timer)
  t.is(stats().connections, 10)
  const events = new Events()
  hook(events.hook)
  for (const one of all) one.send('the last')
  await events.until(
    () => events.of(EventType.Text).filter(({ data }) => data === 'the last').length === 10,
    'the last',
  )
  t.is(events.uuids.length, 10)
})
