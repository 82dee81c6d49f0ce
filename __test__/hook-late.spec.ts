// A hook that comes after its clients. Only a process that never had a hook shows it, so each test starts one.

import test from 'ava'
import { fixture, type Program } from './support/child.js'
import { Client } from './support/client.js'

type Line = [uuid: string, type: number, data: string, resumed?: boolean]

async function startLate(program: Program): Promise<string> {
  const { url } = await program.told<{ url: string }>()
  return url
}

test('sockets that came before the hook: each Connect, then what waited, in order', async (t) => {
  const program = fixture(t, 'late-hook', ['200'])
  const url = await startLate(program)
  const clients = await Promise.all(Array.from({ length: 10 }, () => Client.connect(url)))
  const count = 20
  for (let n = 0; n < count; n++) {
    for (const [who, client] of clients.entries()) client.send(`${who}:${n}`)
  }
  // The fixture hooks once so many messages have come in, and writes a line an event.
  const lines: Line[] = []
  for (let n = 0; n < 10 * (count + 1); n++) lines.push(await program.told<Line>())
  const uuids = [...new Set(lines.map(([uuid]) => uuid))]
  t.is(uuids.length, 10)
  for (const uuid of uuids) {
    const own = lines.filter((line) => line[0] === uuid)
    t.deepEqual(own[0], [uuid, 0, '/', false], 'Connect is the first, with its request')
    const texts = own.slice(1).map((line) => line[2])
    const who = texts[0]?.split(':')[0]
    t.deepEqual(
      texts,
      Array.from({ length: count }, (_, n) => `${who}:${n}`),
    )
  }
  for (const client of clients) client.terminate()
})

test('sockets that came and went before the hook: Connect, messages, Close', async (t) => {
  const program = fixture(t, 'late-hook', ['2', '1'])
  const client = await Client.connect(await startLate(program))
  client.send('one')
  client.send('two')
  await client.close(4000, 'gone')
  const lines = [
    await program.told<Line>(),
    await program.told<Line>(),
    await program.told<Line>(),
    await program.told(),
  ]
  t.deepEqual(
    lines.map((line) => (line as Line).slice(1, 3)),
    [
      [0, '/'],
      [1, 'one'],
      [1, 'two'],
      [3, '4000'],
    ],
  )
})

test('what waits for a hook is bounded: a flood is not read, and nothing of it is lost', async (t) => {
  const program = fixture(t, 'late-hook', ['60'])
  const client = await Client.connect(await startLate(program))
  const count = 64
  // 64 KiB may wait of a socket: the rest stays in the system's buffers and in the client.
  for (let n = 0; n < count; n++) client.send(String(n).padEnd(100_000, '.'))
  const { waiting, messagesIn } = await program.told<{ waiting: number; messagesIn: number }>()
  t.true(waiting > 0 && waiting < 1 << 20, `${waiting} bytes wait`)
  t.true(messagesIn < count, `${messagesIn} messages were read`)
  const lines: Line[] = []
  for (let n = 0; n <= count; n++) lines.push(await program.told<Line>())
  t.deepEqual(
    lines.slice(1).map((line) => Number.parseInt(line[2], 10)),
    Array.from({ length: count }, (_, n) => n),
  )
  client.terminate()
})
