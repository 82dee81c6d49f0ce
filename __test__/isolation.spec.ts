// One side's stall or flood does not hurt the other. Wide margins: what is measured is told, what fails is far off.

import test from 'ava'
import { fixture } from './support/child.js'
import { Client } from './support/client.js'
import { within } from './support/wait.js'

/** ms; a healthy server needs a few. */
const MARGIN = 1000

async function timed<T>(promise: Promise<T>): Promise<[T, number]> {
  const started = performance.now()
  return [await promise, performance.now() - started]
}

function pong(client: Client): Promise<unknown> {
  const answer = new Promise((resolve) => client.socket.once('pong', resolve))
  client.socket.ping()
  return within(answer, 'a pong')
}

test.serial(
  'JavaScript is blocked for 3 s: handshakes, pongs and the page go on, and what was sent is told after',
  async (t) => {
    const program = fixture(t, 'busy-server')
    const { url } = await program.told<{ url: string }>()
    const blocker = await Client.connect(url)
    blocker.send('block')
    t.deepEqual(await program.told(), { blocked: true })
    const started = performance.now()

    const [client, handshake] = await timed(Client.connect(url))
    const [, ping] = await timed(pong(blocker))
    const [page, get] = await timed(fetch(url).then((answer) => answer.text()))
    t.true(page.includes('<html'))
    const count = 500
    for (let n = 0; n < count; n++) client.send(String(n))
    const [, secondPing] = await timed(pong(client))
    const took = performance.now() - started
    t.log(
      `handshake ${handshake.toFixed(1)} ms, pongs ${ping.toFixed(1)} and ${secondPing.toFixed(1)} ms, page ${get.toFixed(1)} ms`,
    )
    for (const ms of [handshake, ping, secondPing, get]) t.true(ms < MARGIN, `${ms} ms`)
    t.true(took < 2500, 'all of it was while JavaScript was blocked')
    t.is(client.left, 0, 'nothing was answered yet')

    t.deepEqual(await program.told(), { blocked: false })
    t.deepEqual(
      await client.texts(count),
      Array.from({ length: count }, (_, n) => String(n)),
    )
    client.terminate()
    blocker.terminate()
  },
)

test.serial('a flood from one socket: timers fire, and another socket is answered', async (t) => {
  const program = fixture(t, 'busy-server')
  const { url } = await program.told<{ url: string }>()
  const flooder = await Client.connect(url)
  const quiet = await Client.connect(url)
  let sent = 0
  let flooding = true
  const flood = () => {
    if (!flooding) return
    // As fast as the server reads, with no more than 64 KiB of our own waiting.
    while (flooder.socket.bufferedAmount < 64 * 1024) {
      flooder.send('work')
      sent++
    }
    setImmediate(flood)
  }
  flood()
  quiet.send('reset')
  const echoes: number[] = []
  const end = performance.now() + 3000
  while (performance.now() < end) {
    const started = performance.now()
    quiet.send('echo')
    t.is(await quiet.text(), 'echo')
    echoes.push(performance.now() - started)
  }
  quiet.send('worst')
  const worst = Number(await quiet.text())
  flooding = false
  const worstEcho = Math.max(...echoes)
  t.log(`under ${sent} messages: a 1 ms timer at most ${worst.toFixed(1)} ms late (target 50); `)
  t.log(`${echoes.length} echoes of another socket, ${worstEcho.toFixed(1)} ms at worst`)
  t.true(sent > 10_000, 'that was a flood')
  t.true(worst < 250, `${worst} ms`)
  t.true(worstEcho < MARGIN, `${worstEcho} ms`)
  flooder.terminate()
  quiet.terminate()
})
