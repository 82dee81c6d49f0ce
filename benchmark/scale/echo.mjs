// A server of workers.mjs: echoes, after work of so many steps. WORKERS=0 hooks on the main thread.
import { once } from 'node:events'
import { isMainThread, Worker } from 'node:worker_threads'
import { hook, runServer, send } from '../../index.js'
import { work } from './support.mjs'

const STEPS = Number(process.env.STEPS)
const WORKERS = Number(process.env.WORKERS)

if (isMainThread) {
  const workers = Array.from({ length: WORKERS }, () => new Worker(new URL(import.meta.url)))
  await Promise.all(workers.map((worker) => once(worker, 'message')))
}
if (!isMainThread || WORKERS === 0)
  hook((uuid, type, event) => {
    if (STEPS > 0) work(STEPS)
    send(uuid, type, event)
  })
if (isMainThread) {
  // The script has died.
  process.once('disconnect', () => process.exit(1))
  process.send({ port: runServer('127.0.0.1', Number(process.env.PORT), { reusePort: true }).port })
} else {
  const { parentPort } = await import('node:worker_threads')
  parentPort.postMessage('ready')
}
