// What a broker adds: a client of node A has A send to all; the same message comes to it, and through the broker to a client
// of node B, a moment later. All on loopback, one message at a time.
//
//   npm run build && node benchmark/broker.mjs [rounds]

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'

const self = fileURLToPath(import.meta.url)

if (process.argv[2] === 'node') {
  const { default: pocketsocket } = await import('../index.js')
  pocketsocket.hook((_uuid, type, event) => {
    if (type === 1) pocketsocket.sendAll(1, event.data)
  })
  console.log(pocketsocket.runServer('127.0.0.1', 0, { broker: process.argv[3] }).url)
} else {
  const rounds = Number(process.argv[2] ?? 5000)
  const brokers = {
    redis: (port) => ['--bind', '127.0.0.1', '--port', port, '--save', '', '--appendonly', 'no'],
    nats: (port) => ['--addr', '127.0.0.1', '--port', port],
  }
  console.log('broker | p50 | p90 | p99 (microseconds that node B is later than node A)')
  for (const [kind, args] of Object.entries(brokers)) await measure(kind, args, rounds)
}

async function measure(kind, args, rounds) {
  const port = String(20_000 + Math.floor(Math.random() * 10_000))
  const started = [spawn(`${kind}-server`, args(port), { stdio: 'ignore' })]
  try {
    await sleep(500)
    const sockets = []
    for (let n = 0; n < 2; n++) {
      const node = spawn(process.execPath, [self, 'node', `${kind}://127.0.0.1:${port}`], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      started.push(node)
      const [url] = await once(createInterface(node.stdout), 'line')
      const socket = new WebSocket(url.replace('http', 'ws'), { perMessageDeflate: false })
      await once(socket, 'open')
      sockets.push(socket)
    }
    const [a, b] = sockets
    const times = []
    for (let n = 0; n < rounds + 500; n++) {
      const arrivals = [a, b].map(
        (socket) => new Promise((resolve) => socket.once('message', () => resolve(performance.now()))),
      )
      a.send(String(n))
      const [atA, atB] = await Promise.all(arrivals)
      // The first ones warm up.
      if (n >= 500) times.push((atB - atA) * 1000)
    }
    times.sort((x, y) => x - y)
    const at = (part) => Math.round(times[Math.floor(times.length * part)])
    console.log(`${kind} | ${at(0.5)} | ${at(0.9)} | ${at(0.99)}`)
    for (const socket of sockets) socket.terminate()
  } finally {
    for (const child of started) child.kill('SIGKILL')
  }
}
