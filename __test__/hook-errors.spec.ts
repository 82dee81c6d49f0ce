// Hooks that throw or reject: what surfaces can only be seen in a process of its own.

import test, { type ExecutionContext } from 'ava'
import { fixture } from './support/child.js'
import { Client } from './support/client.js'

const MESSAGES = ['0', 'bad 1', '2', 'bad 3', 'bad 4', '5', '6', '7', 'bad 8', '9', '10', '11']

async function run(t: ExecutionContext, how: string, field: string) {
  const program = fixture(t, 'throwing-hook', [how])
  const { url } = await program.told<{ url: string }>()
  const client = await Client.connect(url)
  for (const message of MESSAGES) client.send(message)
  const good = MESSAGES.filter((message) => !message.startsWith('bad'))
  const bad = MESSAGES.filter((message) => message.startsWith('bad'))
  t.deepEqual(await client.texts(good.length), good, 'the rest is delivered, in order')
  const surfaced = []
  for (const _ of bad) surfaced.push((await program.told())[field])
  t.deepEqual(
    surfaced,
    bad.map((message) => `cannot take ${message}`),
    'each surfaces, once and in order',
  )
  client.send('the socket lives on')
  t.is(await client.text(), 'the socket lives on')
  client.terminate()
}

test('a hook that throws: each error is an uncaught exception, and the rest of the batch is delivered', async (t) => {
  await run(t, 'throw', 'uncaught')
})

test('an async hook that fails: each error is an unhandled rejection, and the rest is delivered', async (t) => {
  await run(t, 'reject', 'unhandled')
})

test('with maxPending a rejection is an unhandled one too, and frees its place', async (t) => {
  await run(t, 'counted', 'unhandled')
})

for (const how of ['throw', 'reject', 'counted']) {
  test(`a hook's error that nobody catches ends the process with code 1, as any error does: ${how}`, async (t) => {
    const program = fixture(t, 'throwing-hook', [how, 'uncaught'])
    const { url } = await program.told<{ url: string }>()
    const client = await Client.connect(url)
    client.send('bad luck')
    const { code, signal, stderr } = await program.exit()
    t.is(signal, null)
    t.is(code, 1)
    t.true(stderr.includes('cannot take bad luck'))
    t.is((await client.closed).code, 1001, 'the client is told')
  })
}
