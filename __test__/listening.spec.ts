// Where a server listens, beside an address and a port of its own: Unix sockets, and a port shared by processes.

import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { EventType, hook, runServer, send, shutdownServer } from 'pocketsocket'
import { fixture } from './support/child.js'
import { Executable, folder } from './support/child-executable.js'
import { NPM_BIN, serve } from './support/child-programs.js'
import { Client } from './support/client.js'
import { cleanUp, start } from './support/server.js'

cleanUp(test)

const unixTest = process.platform === 'win32' ? test.serial.skip : test.serial

function path(t: ExecutionContext): string {
  const place = mkdtempSync(join(tmpdir(), 'ps-'))
  t.teardown(() => rmSync(place, { recursive: true }))
  return join(place, 's')
}

unixTest('a Unix socket takes the place of address and port', async (t) => {
  const unix = path(t)
  hook((uuid, type, event) => {
    if (event.kind === EventType.Connect) send(uuid, 1, JSON.stringify(event.request.remoteAddress))
    if (type === EventType.Text) send(uuid, type, event)
  })
  const server = runServer({ unix })
  t.deepEqual([server.url, server.unix, server.address, server.port], [`unix:${unix}`, unix, '', 0])
  const client = await Client.connect(`ws+unix:${unix}:/path`)
  t.teardown(() => client.terminate())
  t.is(await client.text(), '""')
  client.send('hello')
  t.is(await client.text(), 'hello')
  // Equal settings join, others do not.
  t.is(runServer({ unix }).url, server.url)
  t.throws(() => runServer({ port: 0 }), { code: 'ERR_SERVER_RUNNING', message: new RegExp(`unix:${unix}`) })
  await shutdownServer()
  t.false(existsSync(unix))
})

unixTest('a path that is taken, or none, is an error', (t) => {
  t.throws(() => runServer({ unix: tmpdir() }), { code: 'EADDRINUSE', message: /is taken/ })
  t.throws(() => runServer({ unix: path(t), reusePort: true }), { code: 'ERR_INVALID_OPTION' })
  for (const unix of ['', 5, 'a\0b'] as string[]) {
    t.throws(() => runServer({ unix }), { code: 'ERR_INVALID_OPTION', instanceOf: TypeError })
  }
})

unixTest('a process that was killed leaves a file, which the next one replaces', async (t) => {
  const unix = path(t)
  const run = async () => {
    const program = new Executable(t, [...NPM_BIN, '--run', '--unix', unix], { cwd: folder(t) })
    let line: string
    do line = await program.line()
    while (!line.startsWith('Serving on '))
    t.is(line, `Serving on unix:${unix}`)
    return program
  }
  const first = await run()
  first.signal('SIGKILL')
  await first.end()
  t.true(existsSync(unix))
  const second = await run()
  second.signal('SIGTERM')
  t.is((await second.end()).code, 0)
  t.false(existsSync(unix))
})

unixTest('--reuse-port shares the port of another process', async (t) => {
  const server = start({ reusePort: true })
  const { url } = await serve(t, folder(t), ['--reuse-port', '--port', String(server.port)])
  t.is(url, server.url)
})

unixTest('processes of a cluster share a port, and its connections are spread over them', async (t) => {
  const program = fixture(t, 'cluster', ['3'])
  const { ports } = await program.told<{ ports: number[] }>()
  t.is(new Set(ports).size, 1)
  const seen = new Map<string, number>()
  // A hash of the ports decides: that one of three gets none of 96 has a chance of about 4 in 10^17.
  for (let n = 0; n < 96; n++) {
    const client = await Client.connect(`http://127.0.0.1:${ports[0]}`)
    t.teardown(() => client.terminate())
    const pid = await client.text()
    seen.set(pid, (seen.get(pid) ?? 0) + 1)
  }
  t.is(seen.size, 3)
  t.log(Object.fromEntries(seen))
})
