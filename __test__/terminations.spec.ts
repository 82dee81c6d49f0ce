// Workers that are terminated again and again under load: no crash, no socket lost, each socket's messages in order and each
// given once.
//
// 1,000 terminations and 1,000,000 messages with POCKETSOCKET_LONG=1 (npm run ready:long); fewer without.

import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { hook, stats } from 'pocketsocket'
import { fixturePath } from './support/child.js'
import { Client } from './support/client.js'
import { cleanUp, start } from './support/server.js'
import { eventually } from './support/wait.js'

cleanUp(test)

const long = Boolean(process.env.POCKETSOCKET_LONG)
const TERMINATIONS = long ? 1000 : 40
const SOCKETS = 50
const MESSAGES = (long ? 1_000_000 : 40_000) / SOCKETS
const WORKERS = 3

test.serial(
  `${TERMINATIONS} workers are terminated under load, ${SOCKETS * MESSAGES} messages keep their order`,
  async (t) => {
    t.timeout(long ? 900_000 : 100_000)
    hook(null)
    const begun = new Int32Array(new SharedArrayBuffer(4 * SOCKETS)).fill(-1)
    const wrong: string[] = []
    let skipped = 0
    const hire = async () => {
      const worker = new Worker(fixturePath('order-worker'), { workerData: begun.buffer })
      worker.on('message', (told: { wrong?: string; skipped?: true }) => {
        if (told.skipped) skipped++
        if (told.wrong) wrong.push(told.wrong)
      })
      await once(worker, 'message')
      return worker
    }
    const workers = await Promise.all(Array.from({ length: WORKERS }, hire))
    const server = start()
    const clients: Client[] = []
    for (let n = 0; n < SOCKETS; n++) {
      const client = await Client.connect(`${server.url}/${n}`)
      t.teardown(() => client.terminate())
      clients.push(client)
    }
    let next = 0
    let terminations = 0
    /** Keeps up to 2,000 messages on their way, at a pace that lasts as long as the terminations. */
    const sending = (async () => {
      while (next < MESSAGES) {
        const due = Math.min(MESSAGES, Math.floor(((terminations + 1) * MESSAGES) / TERMINATIONS))
        for (; next < due; next++) for (const client of clients) client.send(String(next))
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    for (; terminations < TERMINATIONS; terminations++) {
      const at = terminations % WORKERS
      const [dying] = workers.splice(at, 1) as [Worker]
      // The next one is there before, after, or while the old one goes.
      const [hired] = await Promise.all([hire(), dying.terminate()])
      workers.push(hired)
    }
    await sending
    await eventually(() => begun.every((last) => last === MESSAGES - 1), 'every message was given', 60_000).catch(
      () => {
        t.fail(`given up to ${[...begun]}`)
      },
    )
    t.deepEqual(wrong, [])
    // What a worker had begun when it ended is not given twice: at most one event a termination.
    t.true(skipped <= TERMINATIONS, `${skipped} were begun and not noted`)
    t.is(stats().connections, SOCKETS)
    t.is(stats().messagesIn, SOCKETS * MESSAGES)
    t.is(stats().discarded, 0)
    await Promise.all(workers.map((worker) => worker.terminate()))
  },
)
