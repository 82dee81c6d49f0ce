// Each example does what the seed document says, as a program of its own.
//
// They are run compiled, and, where Node.js strips types by itself, also as the sources that a reader runs.

import test, { type ExecutionContext } from 'ava'
import { type Example, runExample } from './support/child-programs.js'
import { Client } from './support/client.js'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

const stripsTypes = 'typescript' in process.features && process.features.typescript !== false
const forms = stripsTypes ? ['compiled', 'as a source'] : ['compiled']

interface Running extends Example {
  connect(path?: string): Promise<Client>
}

async function start(t: ExecutionContext, form: string, name: string): Promise<Running> {
  const example = await runExample(t, name, form === 'as a source')
  return {
    ...example,
    async connect(path = '/') {
      const client = await Client.connect(example.url + path)
      t.teardown(() => client.terminate())
      return client
    },
  }
}

for (const form of forms) {
  test(`howdy greets, then relays to all others (${form})`, async (t) => {
    const { url, connect } = await start(t, form, 'howdy')
    t.regex(await (await fetch(url)).text(), /<!doctype html>/i)
    const ada = await connect('/')
    t.is(await ada.text(), 'Howdy...')
    const bob = await connect('/ws/')
    t.is(await bob.text(), 'Howdy...')
    ada.send('hello')
    t.is(await bob.text(), 'hello')
    bob.send(Buffer.from([0, 255]))
    // What Ada sent would have come back before.
    t.deepEqual(await ada.receive(), { data: Buffer.from([0, 255]), binary: true })
    await ada.close()
    const eve = await connect()
    t.is(await eve.text(), 'Howdy...')
    eve.send('still here')
    // Neither a Connect nor a Close is passed on.
    t.is(await bob.text(), 'still here')
  })

  test(`echo sends back what came (${form})`, async (t) => {
    const { connect } = await start(t, form, 'echo')
    const client = await connect()
    for (const text of ['hello', '', 'Привет 🦀']) {
      client.send(text)
      t.is(await client.text(), text)
    }
    client.send(Buffer.from([1, 2, 3]))
    t.deepEqual(await client.receive(), { data: Buffer.from([1, 2, 3]), binary: true })
    t.is(client.left, 0)
  })

  test(`broadcast tells who connected, then relays to all others (${form})`, async (t) => {
    const { connect } = await start(t, form, 'broadcast')
    const ada = await connect()
    const bob = await connect()
    const [told, uuid = ''] = (await ada.text()).split(':')
    t.is(told, 'Connected')
    t.regex(uuid, UUID)
    bob.send('hello')
    t.is(await ada.text(), 'hello')
    ada.send('and you')
    t.is(await bob.text(), 'and you')
  })

  test(`hook closes a client that asks for it, and shuts down (${form})`, async (t) => {
    const { program, connect } = await start(t, form, 'hook')
    const ada = await connect('/first')
    const bob = await connect('/second')
    const uuid = /^You are (\S+), at \/first$/.exec(await ada.text())?.[1] ?? ''
    t.regex(uuid, UUID)
    t.regex(await bob.text(), /, at \/second$/)
    ada.send('to all')
    t.is(await bob.text(), 'to all')
    ada.send('close')
    t.deepEqual(await ada.closed, { code: 1000, reason: 'as you wish' })
    t.regex(await bob.text(), new RegExp(`^${uuid} has left: 1000`))
    bob.send('shutdown')
    t.is((await bob.closed).code, 1001)
    t.is(await program.line(), 'Shut down')
    t.is((await program.end()).code, 0)
  })

  test(`workers share the sockets (${form})`, async (t) => {
    const { program, url, connect } = await start(t, form, 'workers')
    const lines = (await program.lines(4)).sort()
    t.deepEqual(lines, [`Serving on ${url}`, 'Worker 1 is hooked', 'Worker 2 is hooked', 'Worker 3 is hooked'])
    const clients = []
    const workers = new Set<string>()
    for (let n = 0; n < 6; n++) {
      const client = await connect()
      clients.push(client)
      workers.add(await client.text())
    }
    t.deepEqual(
      [...workers].sort(),
      [1, 2, 3].map((id) => `Howdy from worker ${id}`),
    )
    const [first, ...others] = clients
    first?.send('hello')
    // From one worker to the sockets of all.
    t.deepEqual(await Promise.all(others.map((client) => client.text())), Array(5).fill('hello'))
  })

  test(`chat keeps people apart by their rooms (${form})`, async (t) => {
    const { program, url, connect } = await start(t, form, 'chat/chat')
    t.is(await program.line(), `Serving on ${url}`)
    t.regex(await (await fetch(`${url}/kitchen`)).text(), /<title>Chat<\/title>/)
    const said = async (client: Client) => JSON.parse(await client.text())
    const ada = await connect('/kitchen?name=Ada')
    t.deepEqual(await said(ada), { name: 'Ada', text: 'came in', here: ['Ada'] })
    const eve = await connect('/cellar?name=Eve')
    t.deepEqual(await said(eve), { name: 'Eve', text: 'came in', here: ['Eve'] })
    const bob = await connect(`/kitchen?name=${encodeURIComponent('Боб & <b>')}`)
    const both = ['Ada', 'Боб & <b>']
    for (const client of [ada, bob]) {
      t.deepEqual(await said(client), { name: 'Боб & <b>', text: 'came in', here: both })
    }
    ada.send('hello')
    for (const client of [ada, bob]) {
      t.deepEqual(await said(client), { name: 'Ada', text: 'says: hello', here: both })
    }
    await bob.close()
    t.deepEqual(await said(ada), { name: 'Боб & <b>', text: 'left', here: ['Ada'] })
    // Of all this nothing came to the cellar.
    eve.send('anyone?')
    t.deepEqual(await said(eve), { name: 'Eve', text: 'says: anyone?', here: ['Eve'] })
    // Strange addresses are rooms as well.
    for (const path of ['//', `/${'x'.repeat(2000)}`, '/%', '/?name=%']) {
      t.is((await said(await connect(path))).text, 'came in')
    }
  })
}
