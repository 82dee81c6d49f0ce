// The server under test: one a process, so the tests of a file run one after the other.

import type { TestFn } from 'ava'
import { hook, runServer, type Server, type ServerOptions, shutdownServer } from 'pocketsocket'
import { Client } from './client.js'
import { Events } from './events.js'

const open: Client[] = []

/** Starts a server on a free port. */
export function start(options: ServerOptions = {}): Server {
  return runServer({ port: 0, ...options })
}

/** Starts a server with a hook that notes what it is told. */
export function startNoted(options: ServerOptions = {}): { server: Server; events: Events } {
  const events = new Events()
  hook(events.hook)
  return { server: start(options), events }
}

/** A client that does not outlive its test. */
export async function client(
  server: Server,
  ...rest: Parameters<typeof Client.connect> extends [string, ...infer R] ? R : never
): Promise<Client> {
  const made = await Client.connect(server.url, ...rest)
  open.push(made)
  return made
}

/** A client, and its uuid at the server. */
export async function known(server: Server, events: Events): Promise<{ client: Client; uuid: string }> {
  const n = events.uuids.length
  const made = await client(server)
  return { client: made, uuid: await events.uuid(n) }
}

/** After each test: no server, no client. The hook stays: a later test sets its own. */
export function cleanUp(test: TestFn): void {
  test.afterEach.always(async () => {
    for (const made of open.splice(0)) made.terminate()
    await shutdownServer({ timeout: 1000 })
  })
}
