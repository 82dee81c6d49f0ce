// Several processes as one server, through real brokers.

import test, { type ExecutionContext } from 'ava'
import { Broker, KINDS } from './support/broker.js'
import { fixture, type Program } from './support/child.js'
import { Client } from './support/client.js'

interface Told {
  url?: string
  connect?: string
  close?: string
  code?: number
  error?: string
  failed?: string
  message?: string
  result?: unknown
}

class Node {
  readonly program: Program
  readonly url: string
  readonly clients: Client[] = []

  constructor(program: Program, url: string) {
    this.program = program
    this.url = url
  }

  static async start(t: ExecutionContext, options: object, env: NodeJS.ProcessEnv = {}): Promise<Node> {
    const program = fixture(t, 'broker-node', [JSON.stringify(options)], env)
    const told = await program.told<Told>()
    if (told.url === undefined) throw new Error(`${told.failed}: ${told.message}`)
    const node = new Node(program, told.url)
    t.teardown(() => {
      for (const client of node.clients) client.terminate()
    })
    return node
  }

  async client(): Promise<Client> {
    const client = await Client.connect(this.url)
    this.clients.push(client)
    return client
  }

  /** What it tells next that has `field`; the rest is skipped. */
  async told<K extends keyof Told>(field: K): Promise<Required<Pick<Told, K>> & Told> {
    for (;;) {
      const told = await this.program.told<Told>()
      if (told[field] !== undefined) return told as Required<Pick<Told, K>> & Told
    }
  }

  /** A client and its uuid. */
  async known(): Promise<[Client, string]> {
    const client = await this.client()
    return [client, (await this.told('connect')).connect]
  }

  /** Calls the API in the node, by its first client. */
  async call(...call: unknown[]): Promise<unknown> {
    this.clients[0]?.send(JSON.stringify(call))
    return (await this.told('result')).result
  }
}

for (const kind of KINDS) {
  test.serial(`${kind}: sendAll, publish, send and closeRemoveClient reach sockets of other processes`, async (t) => {
    const broker = await Broker.start(t, kind)
    if (!broker) return
    const [a, b] = [
      await Node.start(t, { broker: broker.url }),
      // An environment variable is as good as the option.
      await Node.start(t, {}, { POCKETSOCKET_BROKER: broker.url }),
    ]
    const [a1, a1Uuid] = await a.known()
    const [b1] = await b.known()
    const [b2, b2Uuid] = await b.known()
    t.is(await a.call('sendAll', 1, 'to all', a1Uuid), 0)
    t.is(await a.call('sendAll', 1, 'but b2', b2Uuid), 0)
    t.is(await a.call('send', b2Uuid, 1, 'to one 😀'), 0)
    t.is(await a.call('subscribe', b2Uuid, 'news'), 0)
    t.is(await b1.text(), 'to all')
    t.is(await b1.text(), 'but b2')
    t.is(await b2.text(), 'to all')
    t.is(await b2.text(), 'to one 😀')
    t.is(await a1.text(), 'but b2')
    // A subscription takes a moment until the broker has it.
    const first = b2.text()
    let came = false
    first.then(() => {
      came = true
    })
    while (!came) await a.call('publish', 'news', 1, 'news')
    t.is(await first, 'news')
    t.is(b1.left, 0)
    t.is(await a.call('pause', b2Uuid), 1, 'only its own server pauses it')
    t.is(await a.call('closeRemoveClient', b2Uuid, 4001, 'bye'), 0)
    t.deepEqual(await b2.closed, { code: 4001, reason: 'bye' })
    t.like(await b.told('close'), { close: b2Uuid, code: 4001 })
    const { broker: figures } = (await b.call('stats')) as { broker: Record<string, unknown> }
    t.like(figures, { state: 'connected', dropped: 0, malformed: 0, gaps: 0 })
    t.true((figures.received as number) > 0)
    t.is(typeof figures.lag, 'number')
    t.is(await a.call('has', b2Uuid), false)
  })

  test.serial(`${kind}: 2 x 1,000 sockets get every message of both nodes once and in order`, async (t) => {
    const broker = await Broker.start(t, kind)
    if (!broker) return
    const nodes = [await Node.start(t, { broker: broker.url }), await Node.start(t, { broker: broker.url })]
    for (const node of nodes) {
      for (let n = 0; n < 10; n++) await Promise.all(Array.from({ length: 100 }, () => node.client()))
    }
    const COUNT = 50
    nodes.forEach((node, n) => {
      node.clients[0]?.send(JSON.stringify(['numbered', n, COUNT]))
    })
    for (const client of nodes.flatMap((node) => node.clients)) {
      const next = [0, 0]
      for (let n = 0; n < 2 * COUNT; n++) {
        const [from, number] = (await client.text()).split(' ').map(Number) as [number, number]
        if (number !== next[from]) t.fail(`${number} of ${from} instead of ${next[from]}`)
        next[from] = number + 1
      }
    }
    // Nothing comes twice: what comes next is what is sent next.
    await nodes[0]?.call('sendAll', 1, 'end')
    for (const client of nodes.flatMap((node) => node.clients)) {
      if ((await client.text()) !== 'end') t.fail('something came twice')
    }
    t.pass()
  })

  test.serial(`${kind}: the broker's end is told, and a node is back within 2 s of its restart`, async (t) => {
    const broker = await Broker.start(t, kind)
    if (!broker) return
    const [a, b] = [await Node.start(t, { broker: broker.url }), await Node.start(t, { broker: broker.url })]
    const [a1] = await a.known()
    const [b1, b1Uuid] = await b.known()
    await broker.kill()
    for (const node of [a, b]) t.is((await node.told('error')).error, 'ERR_BROKER_LOST')
    t.is(await a.call('send', b1Uuid, 1, 'lost'), 1, 'there is no broker')
    t.is(await a.call('sendAll', 1, 'here'), 0)
    t.is(await a1.text(), 'here')
    t.like(await a.call('stats'), { broker: { state: 'reconnecting', gaps: 1, dropped: 2 } })
    await broker.run()
    const restarted = performance.now()
    for (const node of [a, b]) t.is((await node.told('error')).error, 'ERR_BROKER_GAP')
    t.true(performance.now() - restarted < 2000)
    t.is(await a.call('send', b1Uuid, 1, 'back'), 0)
    t.is(await b1.text(), 'back')
  })

  test.serial(`${kind}: a node that is killed leaves the others alone, and its successor joins them`, async (t) => {
    const broker = await Broker.start(t, kind)
    if (!broker) return
    const [a, b] = [await Node.start(t, { broker: broker.url }), await Node.start(t, { broker: broker.url })]
    await a.known()
    const [, gone] = await b.known()
    b.program.process.kill('SIGKILL')
    await b.program.exit()
    t.is(await a.call('send', gone, 1, 'nobody'), 0, 'it is handed to the broker, and lost')
    const c = await Node.start(t, { broker: broker.url })
    const [c1] = await c.known()
    t.is(await a.call('sendAll', 1, 'welcome'), 0)
    t.is(await c1.text(), 'welcome')
  })
}

test.serial('a broker that cannot be used is an error in time, without the password', async (t) => {
  const cases: [object, NodeJS.ProcessEnv, string, RegExp][] = [
    [{ broker: 'http://me:s3cret@host' }, {}, 'ERR_INVALID_OPTION', /option 'broker' is 'http:\/\/host'.*redis:\/\//],
    [{}, { POCKETSOCKET_BROKER: 'amqp://me:s3cret@host' }, 'ERR_INVALID_OPTION', /'amqp:\/\/host'.*nats:\/\//],
    [{ brokerPrefix: 'a.b' }, {}, 'ERR_INVALID_OPTION', /option 'brokerPrefix' is 'a.b'/],
    [{ broker: 5 }, {}, 'ERR_INVALID_OPTION', /option 'broker' is 5/],
    [
      { broker: 'redis://me:s3cret@127.0.0.1:1', brokerTimeout: 100 },
      {},
      'ERR_BROKER_UNREACHABLE',
      /redis:\/\/127\.0\.0\.1:1 /,
    ],
    [
      { broker: 'nats://me:s3cret@127.0.0.1:1', brokerTimeout: 100 },
      {},
      'ERR_BROKER_UNREACHABLE',
      /nats:\/\/127\.0\.0\.1:1 /,
    ],
  ]
  for (const [options, env, code, message] of cases) {
    const program = fixture(t, 'broker-node', [JSON.stringify(options)], { POCKETSOCKET_LOG: 'debug', ...env })
    const told = await program.told<Told>()
    t.is(told.failed, code)
    t.regex(told.message ?? '', message)
    const { stderr } = await program.exit()
    t.false(`${told.message}${stderr}`.includes('s3cret'))
  }
})

test.serial('without a broker figures have none, and a uuid of another process is unknown', async (t) => {
  const [a, b] = [await Node.start(t, {}), await Node.start(t, {})]
  await a.known()
  const [, uuid] = await b.known()
  t.is(await a.call('send', uuid, 1, 'x'), 1)
  t.is(await a.call('closeRemoveClient', uuid), 1)
  t.false('broker' in ((await a.call('stats')) as object))
})
