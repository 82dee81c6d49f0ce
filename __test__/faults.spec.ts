// Threads and processes that end in the middle of a callback, again and again, under load. FAULT_ROUNDS is how often:
// `npm run ready:long` asks for more than the tests do.

import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { EventType, hook, stats } from 'pocketsocket'
import type { Told } from './fixtures/hook-worker.js'
import { fixture, fixturePath } from './support/child.js'
import { Client } from './support/client.js'
import { Events } from './support/events.js'
import { cleanUp, start } from './support/server.js'
import { within } from './support/wait.js'

cleanUp(test)

const ROUNDS = Number(process.env.FAULT_ROUNDS ?? 12)
const SOCKETS = 4
const MESSAGES = 40

test.serial(`a worker that is terminated in the middle of a callback, ${ROUNDS} times`, async (t) => {
  t.timeout(60_000 + ROUNDS * 2_000)
  hook(null)
  const server = start()
  for (let round = 0; round < ROUNDS; round++) {
    const worker = new Worker(fixturePath('hook-worker'), { workerData: { mode: 'busy' } })
    await once(worker, 'message')
    const seen: Told[] = []
    const some = new Promise<void>((resolve) => {
      worker.on('message', (told: Told) => {
        seen.push(told)
        if (seen.length === SOCKETS + 1 + (round % 17)) resolve()
      })
    })
    const sockets = await Promise.all(Array.from({ length: SOCKETS }, () => Client.connect(server.url)))
    for (let n = 0; n < MESSAGES; n++) for (const socket of sockets) socket.send(String(n))
    await within(some, 'the worker handles some')
    await worker.terminate()

    // What it had not begun goes to the next hook, in order; what it had begun is not told of again.
    const events = new Events()
    hook(events.hook)
    for (const socket of sockets) socket.send('last')
    const lasts = () => events.all.filter(({ event }) => event.data === 'last').length
    await events.until(() => lasts() === SOCKETS, 'what is left')
    for (const socket of sockets) socket.terminate()
    await events.some(EventType.Close, SOCKETS)
    t.is(events.uuids.length, SOCKETS)
    let begun = 0
    for (const uuid of events.uuids) {
      const own = events.all.filter((told) => told.uuid === uuid)
      t.is(own[0]?.type, EventType.Connect)
      t.is(own.at(-1)?.type, EventType.Close)
      t.is(own.filter(({ type }) => type === EventType.Close).length, 1)
      const texts = own.filter(({ type }) => type === EventType.Text).map(({ event }) => event.data)
      const first = MESSAGES - (texts.length - 1)
      const rest = Array.from({ length: texts.length - 1 }, (_, n) => String(first + n))
      t.deepEqual(texts, [...rest, 'last'])
      const told = seen.filter((event) => event[0] === uuid && event[1] === EventType.Text).length
      t.true(told <= first, 'none twice')
      begun += first - told
    }
    // Of those that it began, its last words may not have reached us. It had begun no more than it could tell of and one.
    t.true(begun <= 2 + SOCKETS * MESSAGES * 0.1, `${begun} were begun and not told of`)
    t.is(stats().connections, 0)
    hook(null)
  }
})

test.serial(`process.exit() in the middle of a callback, ${ROUNDS} times`, async (t) => {
  t.timeout(60_000 + ROUNDS * 2_000)
  for (let round = 0; round < ROUNDS; round++) {
    const program = fixture(t, 'exits', [String(1 + ((round * 7) % (SOCKETS * MESSAGES)))])
    const { url } = await program.told<{ url: string }>()
    const sockets = await Promise.all(Array.from({ length: SOCKETS }, () => Client.connect(url)))
    for (const { socket } of sockets) socket.on('error', () => {})
    for (let n = 0; n < MESSAGES; n++) for (const socket of sockets) socket.send(String(n))
    const { code, signal, stderr } = await program.exit()
    t.deepEqual({ code, signal, stderr }, { code: 7, signal: null, stderr: '' })
    for (const socket of sockets) {
      // Told with 1001, or cut: never left open.
      const { code } = await within(socket.closed, 'the end of its connection')
      t.true(code === 1001 || code === 1006, String(code))
      for (let n = 0; socket.left > 0; n++) t.is(await socket.text(), String(n))
    }
  }
})
