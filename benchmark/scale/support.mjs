// What the scripts of this folder share.
import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const children = new Set()
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})
// Without a listener a signal ends the process, and no `exit` is emitted.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1))

/** Ends the script, and all that it started, if it takes longer: something was lost then, or hangs. */
export function endAfter(seconds) {
  setTimeout(() => {
    console.error(`not done after ${seconds} s`)
    process.exit(1)
  }, seconds * 1000).unref()
}

/** A process is killed with the script at the latest; one that ends before that ends the script. */
function keep(child, name) {
  children.add(child)
  child.once('exit', (code, signal) => {
    if (!children.delete(child)) return
    console.error(`${name} ended by itself: ${signal ?? code}`)
    process.exit(1)
  })
  return async () => {
    const ended = once(child, 'exit')
    children.delete(child)
    child.kill('SIGKILL')
    await ended
  }
}

/** A program of this folder as a process; `ask` sends an order and gives the answer, `tell` expects none. */
export function program(name, env = {}) {
  const child = fork(fileURLToPath(new URL(`${name}.mjs`, import.meta.url)), { env: { ...process.env, ...env } })
  const kill = keep(child, name)
  return {
    child,
    pid: child.pid,
    kill,
    /** What it says by itself. */
    async said() {
      const [told] = await once(child, 'message')
      if (told.error) throw new Error(`${name}: ${told.error}`)
      return told
    },
    ask(order) {
      const answer = this.said()
      child.send(order)
      return answer
    },
    tell(order) {
      child.send(order)
    },
  }
}

export const HANDSHAKE =
  'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

const BROKERS = {
  redis: (port) => ['--bind', '127.0.0.1', '--port', port, '--save', '', '--appendonly', 'no'],
  nats: (port) => ['--addr', '127.0.0.1', '--port', port],
}

/** Starts `redis` or `nats` on a free port, with its own settings otherwise, and waits until it accepts. */
export async function startBroker(kind) {
  if (!Object.hasOwn(BROKERS, kind)) throw new Error(`the broker is one of ${Object.keys(BROKERS).join(', ')}`)
  const port = await freePort()
  const child = spawn(`${kind}-server`, BROKERS[kind](String(port)), { stdio: 'ignore' })
  child.once('error', (error) => {
    console.error(`${kind}-server does not start: ${error.message}`)
    process.exit(1)
  })
  const kill = keep(child, `${kind}-server`)
  for (let n = 0; n < 500; n++) {
    const socket = connect(port, '127.0.0.1')
    const accepts = await new Promise((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    })
    socket.destroy()
    if (accepts) return { url: `${kind}://127.0.0.1:${port}`, pid: child.pid, kill }
    await sleep(10)
  }
  throw new Error(`${kind}-server does not accept`)
}

/** CPU time of a process, all threads, user and system, in microseconds. It counts in ticks of 10 ms. Linux. */
export function cpuOf(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // The name is in brackets, and may have spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10_000
}

/** Microseconds of a clock that all processes of this machine share. */
export const now = () => Number(process.hrtime.bigint() / 1000n)

/** What follows `--name` on the command line. */
export function argument(name, otherwise) {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? otherwise : process.argv[at + 1]
}

export const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

/** A loop of so many steps. */
export function work(steps) {
  let x = 1
  for (let n = 0; n < steps; n++) x = (x * 48271) % 2147483647
  return x
}
