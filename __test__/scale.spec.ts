// One chat program, unchanged: on one thread, on four, in three processes behind one port, on two nodes with a broker.
// What runs is compiled from examples/scale/*.ts in the build of the tests, from just these sources (tsconfig.test.json).

import { setTimeout } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { Broker, KINDS } from './support/broker.js'
import { runExample } from './support/child-programs.js'
import { Client } from './support/client.js'

async function join(t: ExecutionContext, url: string, room: string, name: string): Promise<Client> {
  const client = await Client.connect(`${url}/${room}?name=${name}`)
  t.teardown(() => client.terminate())
  // Its own coming in: from here on it hears the room.
  await heard(client, `${name} came in`)
  return client
}

/** Reads up to this text; gives what came before it. */
async function heard(client: Client, text: string): Promise<string[]> {
  const before = []
  for (;;) {
    const next = await client.text()
    if (next === text) return before
    before.push(next)
  }
}

async function talk(t: ExecutionContext, url: string): Promise<void> {
  const eve = await join(t, url, 'cellar', 'Eve')
  const people: Client[] = []
  for (let n = 0; n < 8; n++) people.push(await join(t, url, 'kitchen', `P${n}`))
  people[0]?.send('hello')
  for (const client of people) await heard(client, 'P0: hello')
  await people[7]?.close()
  for (const client of people.slice(0, 7)) t.deepEqual(await heard(client, 'P7 left'), [])
  eve.send('anyone?')
  t.deepEqual(await heard(eve, 'Eve: anyone?'), [], 'nothing of the kitchen')
}

test('on one thread', async (t) => {
  await talk(t, (await runExample(t, 'scale/thread')).url)
})

test('on four worker threads', async (t) => {
  await talk(t, (await runExample(t, 'scale/workers')).url)
})

test('in three processes behind one port: without a broker each is a chat of its own', async (t) => {
  const { program, url } = await runExample(t, 'scale/processes')
  t.is(await program.line(), `Serving on ${url}`)
  const people = []
  for (let n = 0; n < 48; n++) people.push(await join(t, url, 'hall', `P${n}`))
  // Each says who it is, and hears the end of that, before anyone says the end: who hears whom are those of one process.
  const texts: string[][] = []
  for (const [n, client] of people.entries()) client.send(`I am ${n}`)
  for (const [n, client] of people.entries())
    texts.push([`P${n}: I am ${n}`, ...(await heard(client, `P${n}: I am ${n}`))])
  for (const client of people) client.send('end')
  for (const [n, client] of people.entries()) texts[n]?.push(...(await heard(client, `P${n}: end`)))
  const groups = new Set(texts.map((heard) => String(heard.filter((text) => text.includes(': I am ')).sort())))
  t.is(groups.size, 3)
})

for (const kind of KINDS) {
  test(`on two nodes with ${kind}: one chat, whoever is where`, async (t) => {
    const broker = await Broker.start(t, kind)
    if (broker === undefined) return
    const env = { POCKETSOCKET_BROKER: broker.url }
    const here = await runExample(t, 'scale/thread', false, env)
    const there = await runExample(t, 'scale/thread', false, env)
    const ada = await join(t, here.url, 'kitchen', 'Ada')
    const bob = await join(t, there.url, 'kitchen', 'Bob')
    // Each node hears the other's room once the broker knows that it wants to, which nobody is told of.
    await Promise.all([meet(ada, 'Ada', bob), meet(bob, 'Bob', ada)])
    ada.send('hello')
    await heard(bob, 'Ada: hello')
    ada.send('end')
    // His own last words may come to him late.
    const between = await heard(bob, 'Ada: end')
    t.deepEqual(
      between.filter((text) => !text.startsWith('Bob: ')),
      [],
      'once',
    )
  })
}

/** Says `ping` until the other hears it, then `met`, which the other reads up to. */
async function meet(from: Client, name: string, to: Client): Promise<void> {
  let met = false
  const hearing = heard(to, `${name}: ping`).then(() => {
    met = true
  })
  while (!met) {
    from.send('ping')
    await Promise.race([hearing, setTimeout(20)])
  }
  from.send('met')
  await heard(to, `${name}: met`)
}
