// `hook(fn, { maxPending })`: how many promises of an async hook may be unsettled at once.

import test from 'ava'
import { EventType, type HookOptions, hook, send, stats } from 'pocketsocket'
import { cleanUp, client, start } from './support/server.js'
import { eventually } from './support/wait.js'

cleanUp(test)

/** A hook whose promises the test settles. */
function held(maxPending: number) {
  const begun: string[] = []
  const settle: (() => void)[] = []
  let most = 0
  hook(
    (_, type, event) => {
      if (type !== EventType.Text) return undefined
      begun.push(String(event.data))
      most = Math.max(most, settle.length + 1)
      return new Promise<void>((resolve) => settle.push(resolve))
    },
    { maxPending },
  )
  return { begun, settle, most: () => most }
}

test.serial('no more events are begun than may be pending, and each that settles lets the next one in', async (t) => {
  const { begun, settle, most } = held(3)
  const one = await client(start())
  for (let n = 0; n < 10; n++) one.send(String(n))
  await eventually(() => stats().messagesIn === 10 && begun.length === 3, 'three are begun')
  for (let done = 1; done <= 10; done++) {
    settle.shift()?.()
    await eventually(() => begun.length === Math.min(10, 3 + done), 'the next is begun')
  }
  t.deepEqual(begun, ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
  t.is(most(), 3)
})

test.serial('with one, the answers of a hook that awaits keep the order of their messages', async (t) => {
  hook(
    async (uuid, type, event) => {
      if (type !== EventType.Text) return
      // The later, the sooner.
      await new Promise((resolve) => setTimeout(resolve, (20 - Number(event.data)) / 4))
      send(uuid, type, event)
    },
    { maxPending: 1 },
  )
  const one = await client(start())
  const texts = Array.from({ length: 20 }, (_, n) => String(n))
  for (const text of texts) one.send(text)
  t.deepEqual(await one.texts(20), texts)
})

test.serial('what waits is bounded, and nothing of it is lost', async (t) => {
  const { begun, settle } = held(1)
  const one = await client(start())
  const filler = 'x'.repeat(4096)
  const count = 5000
  for (let n = 0; n < count; n++) one.send(`${n}:${filler}`)
  await eventually(() => begun.length === 1, 'the first is begun')
  // Above what inbox, socket's queue and the system's buffers take, the client keeps it.
  let before = -1
  await eventually(() => {
    const now = stats().messagesIn
    const still = now === before
    before = now
    return still && now > 0 && one.socket.bufferedAmount > 0
  }, 'the socket is not read any more')
  t.true(stats().waitingBytes < 256 * 1024)
  const end = performance.now() + 60_000
  while (begun.length < count || settle.length > 0) {
    for (const done of settle.splice(0)) done()
    await new Promise(setImmediate)
    if (performance.now() > end) break
  }
  t.deepEqual(
    begun.map((text) => Number(text.split(':')[0])),
    Array.from({ length: count }, (_, n) => n),
  )
})

test.serial('a hook that takes the place of a full one begins anew; without it all are begun', async (t) => {
  const { begun } = held(1)
  const one = await client(start())
  for (let n = 0; n < 4; n++) one.send(String(n))
  await eventually(() => stats().messagesIn === 4 && begun.length === 1, 'the first is begun')
  const later: string[] = []
  hook((_, type, event) => {
    if (type === EventType.Text) later.push(String(event.data))
    return new Promise(() => {})
  })
  await eventually(() => later.length === 3, 'the rest is begun')
  t.deepEqual(later, ['1', '2', '3'])
})

test.serial('maxPending is a whole number of at least 1', (t) => {
  const refused = (maxPending: unknown, name: string) =>
    t.throws(() => hook(() => {}, { maxPending } as HookOptions), {
      name,
      code: 'ERR_INVALID_OPTION',
      message: /'maxPending' is .*1 to 1048576 \(events\)/,
    })
  for (const value of [0, -1, 1.5, Number.NaN, 2 ** 20 + 1]) refused(value, 'RangeError')
  for (const value of ['1', null, true]) refused(value, 'TypeError')
  t.throws(() => hook(() => {}, { maxPnding: 1 } as HookOptions), { code: 'ERR_INVALID_OPTION', message: /unknown/ })
  t.notThrows(() => hook(() => {}, { maxPending: 2 ** 20 }))
  t.notThrows(() => hook(null, {}))
})
