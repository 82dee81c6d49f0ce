// 10,000 sockets at once through the addon. The server is a process of its own: open files are limited by process.

import test from 'ava'
import type { Stats } from 'pocketsocket'
import { fixture } from './support/child.js'
import { Client } from './support/client.js'
import { lacks } from './support/skip.js'

const SOCKETS = 10_000
const WAVE = 200

type Figures = Stats & { connects: number; closes: number }

/** Node raises its limit to the hard one when it starts. */
function openFileLimit(): number {
  const report = process.report.getReport() as { userLimits?: { open_files?: { soft: number | 'unlimited' } } }
  const soft = report.userLimits?.open_files?.soft ?? 'unlimited'
  return soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft)
}

test('10,000 sockets at once: each echoes once, none is lost, and nothing is left of them', async (t) => {
  t.timeout(110_000)
  const needed = SOCKETS + 200
  if (lacks(t, openFileLimit() >= needed, `${needed} open files a process are needed, ${openFileLimit()} are allowed`))
    return
  const program = fixture(t, 'load-server', [String(SOCKETS)])
  const { url } = await program.told<{ url: string }>()
  const started = performance.now()
  const clients: Client[] = []
  while (clients.length < SOCKETS) {
    clients.push(...(await Promise.all(Array.from({ length: WAVE }, () => Client.connect(url)))))
  }
  const open = await program.told<Figures>(60_000)
  t.is(open.connections, SOCKETS)
  t.is(open.closes, 0)
  const opened = performance.now()

  for (const [n, client] of clients.entries()) client.send(`socket ${n}`)
  let echoed = 0
  for (const [n, client] of clients.entries()) if ((await client.text(60_000)) === `socket ${n}`) echoed++
  t.is(echoed, SOCKETS)
  t.true(clients.every((client) => client.left === 0))
  const answered = performance.now()

  for (const client of clients) client.socket.close(1000)
  const closes = await Promise.all(clients.map((client) => client.closed))
  t.true(closes.every(({ code }) => code === 1000))
  const figures = await program.told<Figures>(60_000)
  const { connects, connections, bufferedBytes, waitingBytes, messagesIn, messagesOut, dropped, faults } = figures
  t.deepEqual(
    {
      connects,
      closes: figures.closes,
      connections,
      bufferedBytes,
      waitingBytes,
      messagesIn,
      messagesOut,
      dropped,
      faults,
    },
    {
      connects: SOCKETS,
      closes: SOCKETS,
      connections: 0,
      bufferedBytes: 0,
      waitingBytes: 0,
      messagesIn: SOCKETS,
      messagesOut: SOCKETS,
      dropped: 0,
      faults: 0,
    },
  )
  const times = [opened - started, answered - opened, performance.now() - answered].map((ms) => (ms / 1000).toFixed(1))
  t.log(`opened in ${times[0]} s, echoed in ${times[1]} s, closed in ${times[2]} s`)
})
