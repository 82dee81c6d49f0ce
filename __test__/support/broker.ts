// Real brokers, as processes of their own on free ports.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import { lacks } from './skip.js'

export const KINDS = ['redis', 'nats'] as const
export type Kind = (typeof KINDS)[number]

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

export class Broker {
  readonly kind: Kind
  readonly port: number
  #process: ChildProcess | undefined

  private constructor(kind: Kind, port: number) {
    this.kind = kind
    this.port = port
  }

  /** Starts one, or tells that it is not installed. */
  static async start(t: ExecutionContext, kind: Kind): Promise<Broker | undefined> {
    const program = `${kind}-server`
    const found = spawnSync(program, ['--version']).error === undefined
    if (lacks(t, found, `${program} (Debian: apt-get install ${program})`)) return undefined
    const broker = new Broker(kind, await freePort())
    t.teardown(() => broker.kill())
    await broker.run()
    return broker
  }

  get url(): string {
    return `${this.kind}://127.0.0.1:${this.port}`
  }

  /** Starts it, also again after {@link kill}. */
  async run(): Promise<void> {
    const port = String(this.port)
    const args =
      this.kind === 'redis'
        ? ['--bind', '127.0.0.1', '--port', port, '--save', '', '--appendonly', 'no']
        : ['--addr', '127.0.0.1', '--port', port]
    this.#process = spawn(`${this.kind}-server`, args, { stdio: 'ignore' })
    const end = performance.now() + 10_000
    while (!(await this.#listens())) {
      if (performance.now() > end) throw new Error(`${this.kind} does not listen`)
      await sleep(5)
    }
  }

  async #listens(): Promise<boolean> {
    const socket = connect(this.port, '127.0.0.1')
    const listens = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    })
    socket.destroy()
    return listens
  }

  async kill(): Promise<void> {
    const process = this.#process
    this.#process = undefined
    if (process === undefined) return
    const ended = once(process, 'exit')
    process.kill('SIGKILL')
    await ended
  }
}
