// What a process does with a server in it: when it stays, how it ends, and what its clients see.

import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { fixture, Program } from './support/child.js'
import { Client } from './support/client.js'

async function run(...args: Parameters<typeof fixture>) {
  const program = fixture(...args)
  const { url } = await program.told<{ url: string }>()
  return { program, url }
}

test('process.exit with live sockets: the exit code is kept, what was sent arrives, and clients get 1001', async (t) => {
  const { program, url } = await run(t, 'server')
  const clients = await Promise.all(Array.from({ length: 20 }, () => Client.connect(url)))
  clients[0]?.send('exit')
  const { code, signal } = await program.exit()
  t.is(signal, null)
  t.is(code, 7)
  t.is(await clients[0]?.text(), 'exit')
  for (const client of clients) t.is((await client.closed).code, 1001)
})

test('an uncaught exception with live sockets ends the process at once, with code 1', async (t) => {
  const { program, url } = await run(t, 'server')
  const client = await Client.connect(url)
  client.send('throw')
  const { code, signal, stderr } = await program.exit()
  t.is(signal, null)
  t.is(code, 1)
  t.true(stderr.includes('thrown on purpose'))
  t.is((await client.closed).code, 1001)
})

test('a client that does not answer cannot hold up the end of the process', async (t) => {
  const { program, url } = await run(t, 'server')
  const silent = await Client.connect(url)
  silent.stopReading()
  const client = await Client.connect(url)
  const started = performance.now()
  client.send('exit')
  t.is((await program.exit()).code, 7)
  t.true(performance.now() - started < 2000)
  silent.terminate()
})

test('a server keeps its process alive, with nothing else in it', async (t) => {
  const { program, url } = await run(t, 'server')
  await sleep(300)
  t.is(program.process.exitCode, null)
  const client = await Client.connect(url)
  client.send('still there?')
  t.is(await client.text(), 'still there?')
  await client.close()
})

test('a server that is unreferenced lets its process end by itself', async (t) => {
  const { program } = await run(t, 'server', ['unref'])
  const { code, signal } = await program.exit()
  t.deepEqual([code, signal], [0, null])
})

test('unref inside of a hook, with a live socket, lets the process end; the client gets 1001', async (t) => {
  const { program, url } = await run(t, 'server')
  const client = await Client.connect(url)
  client.send('unref')
  const { code, signal } = await program.exit()
  t.deepEqual([code, signal], [0, null])
  t.is(await client.text(), 'unref')
  t.is((await client.closed).code, 1001)
})

test('a hook on the main thread without a server does not keep the process alive', async (t) => {
  const program = new Program(t, ['-e', "require('pocketsocket').hook(() => {})"])
  const { code, signal, stderr } = await program.exit()
  t.deepEqual([code, signal, stderr], [0, null, ''])
})

test('the import alone, a call without a server, and a shutdown without one do not keep the process alive', async (t) => {
  const program = new Program(t, [
    '-e',
    "const p = require('pocketsocket'); p.sendAll(1, 'x'); p.stats(); p.shutdownServer().then(() => console.log('done'))",
  ])
  t.is(await program.line(), 'done')
  t.is((await program.exit()).code, 0)
})

test('a process ends by itself after shutdownServer', async (t) => {
  const program = new Program(t, [
    '-e',
    "const p = require('pocketsocket'); p.hook(() => {}); p.runServer('127.0.0.1', 0); setTimeout(() => p.shutdownServer(), 10)",
  ])
  const { code, signal } = await program.exit()
  t.deepEqual([code, signal], [0, null])
})

test('require gives CommonJS the same module as import', async (t) => {
  const program = new Program(t, [
    '-e',
    `const required = require('pocketsocket')
     import('pocketsocket').then(async (imported) => {
       const { port } = required.runServer('127.0.0.1', 0)
       const sameServer = imported.runServer('127.0.0.1', 0).port === port
       console.log(JSON.stringify({
         sameServer,
         sameFunction: required.send === imported.send,
         sameDefault: required.default === imported.default && imported.default.send === imported.send,
       }))
       await imported.shutdownServer()
     })`,
  ])
  t.deepEqual(await program.told(), { sameServer: true, sameFunction: true, sameDefault: true })
  const { code, stderr } = await program.exit()
  t.deepEqual([code, stderr], [0, ''], 'no warning either')
})

test('SIGTERM ends a process with a server as it ends any other', async (t) => {
  const { program } = await run(t, 'server')
  program.process.kill('SIGTERM')
  t.is((await program.exit()).signal, 'SIGTERM')
})

test('an application may catch SIGTERM and shut down: its clients are told, and it exits with 0', async (t) => {
  const program = new Program(t, [
    '-e',
    `const p = require('pocketsocket')
     p.hook(() => {})
     process.once('SIGTERM', () => p.shutdownServer({ timeout: 2000 }))
     console.log(JSON.stringify({ url: p.runServer('127.0.0.1', 0).url }))`,
  ])
  const { url } = await program.told<{ url: string }>()
  const client = await Client.connect(url)
  program.process.kill('SIGTERM')
  t.is((await client.closed).code, 1001)
  t.is((await program.exit()).code, 0)
})

test('a hook beside another thread’s server gets all of a burst, with nothing else that wakes its thread', async (t) => {
  const { url } = await run(t, 'foreign-server')
  const client = await Client.connect(url)
  // Far more than one turn of the event loop has time for.
  const texts = Array.from({ length: 2000 }, (_, n) => String(n))
  for (const text of texts) client.send(text)
  t.deepEqual(await client.texts(texts.length), texts)
})
