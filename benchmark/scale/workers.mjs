// Worker threads with a hook that works for 50 us: what one and what four of them get done.
//
// The work is a loop of a fixed length, measured to take 50 us alone: a hook that looked at the clock would count the time in
// which another thread had its core as work done. Run: npm run build && node benchmark/scale/workers.mjs
import { availableParallelism } from 'node:os'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { hook, runServer, send, shutdownServer } from '../../index.js'
import { median, program } from './support.mjs'

const MICROSECONDS = 50
const SOCKETS = 64
const ROUNDS = 3

function work(steps) {
  let x = 1
  for (let n = 0; n < steps; n++) x = (x * 48271) % 2147483647
  return x
}

/** Steps that take so long on a core of its own: the best of many, as others may take it meanwhile. */
function calibrate() {
  work(1e6)
  let best = Number.POSITIVE_INFINITY
  for (let n = 0; n < 200; n++) {
    const start = performance.now()
    work(1e5)
    best = Math.min(best, performance.now() - start)
  }
  return Math.round((1e5 * MICROSECONDS) / 1000 / best)
}

if (isMainThread) {
  const steps = calibrate()
  const rates = { 1: [], 4: [] }
  for (let round = 0; round < ROUNDS; round++) {
    for (const count of [1, 4]) {
      const server = runServer('127.0.0.1', 0)
      const workers = Array.from({ length: count }, () => new Worker(new URL(import.meta.url), { workerData: steps }))
      await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))))
      const load = program('client')
      await load.ask({ open: { count: SOCKETS, port: server.port } })
      const { rate, ended } = await load.ask({ echo: { window: 16, ms: 4000 } })
      if (ended > 0) throw new Error(`${ended} sockets have ended`)
      rates[count].push(rate)
      load.child.kill()
      await shutdownServer({ timeout: 1000 })
      await Promise.all(workers.map((worker) => worker.terminate()))
    }
  }
  const one = median(rates[1])
  const four = median(rates[4])
  console.log(
    `${availableParallelism()} cores, ${SOCKETS} sockets, a hook of ${MICROSECONDS} us, median of ${ROUNDS} runs of 4 s`,
  )
  console.log(`one worker:   ${Math.round(one)} messages/s`)
  console.log(`four workers: ${Math.round(four)} messages/s, ${(four / one).toFixed(2)} times as many`)
  process.exit(0)
} else {
  const { parentPort } = await import('node:worker_threads')
  hook((uuid, type, event) => {
    work(workerData)
    send(uuid, type, event)
  })
  parentPort.postMessage('ready')
}
