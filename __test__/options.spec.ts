// Options of runServer: what is refused, and what those that are taken do.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { EventType, hook, MessageKind, runServer, type ServerOptions, send, stats } from 'pocketsocket'
import { fixture } from './support/child.js'
import { Client } from './support/client.js'
import { Events } from './support/events.js'
import { cleanUp, client, known, start, startNoted } from './support/server.js'

cleanUp(test)

type Refused = [value: unknown, type: 'TypeError' | 'RangeError', allowed: string]

const bytes = '1 to 1073741824 (bytes)'
const seconds = '0 to 86400 (seconds, 0 is never)'
const milliseconds = '1 to 600000 (milliseconds)'
const port = '0 to 65535'

/** A wrong type, and what is out of range, by option. */
const REFUSED: Record<string, Refused[]> = {
  address: [5, '', null].map((value) => [value, 'TypeError', 'an IP address']),
  port: [
    ['8090', 'TypeError', port],
    [-1, 'RangeError', port],
    [65_536, 'RangeError', port],
    [1.5, 'RangeError', port],
    [Number.NaN, 'RangeError', port],
  ],
  ...Object.fromEntries(
    Object.entries({
      maxPayload: [bytes, 0, 2 ** 30 + 1],
      maxFragments: ['1 to 16777216 (frames)', 0, 2 ** 24 + 1],
      backpressureLimit: [bytes, 0, 2 ** 30 + 1],
      idleTimeout: [seconds, -1, 86_401],
      pingInterval: [seconds, -1, 86_401],
      handshakeTimeout: [milliseconds, 0, 600_001],
      closeTimeout: [milliseconds, 0, 600_001],
      maxConnections: ['1 to 4194303 (sockets)', 0, 4_194_304],
      maxConnectionsPerAddress: ['1 to 4194303 (connections)', 0, 4_194_304],
      maxHeaders: ['1 to 10000 (headers)', 0, 10_001],
      maxHeaderBytes: ['8192 to 262144 (bytes)', 8191, 2 ** 18 + 1],
      inboundLimit: [bytes, 0, 2 ** 30 + 1],
      inboundTotal: ['1 to 1099511627776 (bytes)', 0, 2 ** 40 + 1],
      backpressureTotal: ['1 to 1099511627776 (bytes)', 0, 2 ** 40 + 1],
      threads: ['1 to 64 (threads)', 0, 65],
    } as Record<string, [string, number, number]>).map(([name, [allowed, low, high]]) => [
      name,
      [
        ['1', 'TypeError', allowed],
        [null, 'TypeError', allowed],
        [true, 'TypeError', allowed],
        [low, 'RangeError', allowed],
        [-1, 'RangeError', allowed],
        [high, 'RangeError', allowed],
        [1.5, 'RangeError', allowed],
        [Number.NaN, 'RangeError', allowed],
        [2 ** 60, 'RangeError', allowed],
      ] satisfies Refused[],
    ]),
  ),
  rateLimit: [5, null, '1', true, [1]].map((value) => [value, 'TypeError', 'an object with messagesPerSecond']),
  template: [5, null, {}].map((value) => [value, 'TypeError', "a file's path"]),
  dropPolicy: [
    ['none', 'RangeError', "'drop' or 'close'"],
    [5, 'TypeError', "'drop' or 'close'"],
    [null, 'TypeError', "'drop' or 'close'"],
  ],
  broadcast: [1, 'true', null].map((value) => [value, 'TypeError', 'true or false']),
  print: [1, 'true', null].map((value) => [value, 'TypeError', 'true or false']),
  authorize: [true, 'yes', null, {}].map((value) => [value, 'TypeError', 'a function']),
  trustProxy: [
    ['127.0.0.1', 'TypeError', '0 to 16 proxies'],
    [true, 'TypeError', '0 to 16 proxies'],
    [null, 'TypeError', '0 to 16 proxies'],
    [[5], 'TypeError', '0 to 16 proxies'],
    [-1, 'RangeError', '0 to 16 proxies'],
    [17, 'RangeError', '0 to 16 proxies'],
    [1.5, 'RangeError', '0 to 16 proxies'],
    [['10.0.0.0/33'], 'RangeError', 'an IP address, or a range such as 10.0.0.0/8'],
    [['proxy.example'], 'RangeError', 'an IP address, or a range such as 10.0.0.0/8'],
  ],
  allowedOrigins: [
    ['*', 'TypeError', 'an array of origins'],
    [[5], 'TypeError', 'an array of origins'],
    [['no origin'], 'RangeError', "'*', or a scheme, a host"],
  ],
}

/** The same for the two parts of `rateLimit`. */
const REFUSED_RATES: Refused[] = [
  ...['1', null, true].map((value): Refused => [value, 'TypeError', '1 to 1000000 (messages)']),
  ...[0, -1, 1.5, Number.NaN, 1_000_001, 2 ** 32 + 1].map(
    (value): Refused => [value, 'RangeError', '1 to 1000000 (messages)'],
  ),
]

/** As an error shows it. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return ''
  if (typeof value === 'string') return `'${value}'`
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}

for (const [name, cases] of Object.entries(REFUSED)) {
  test.serial(`option ${name}: what is wrong is refused, with its name, its value and what is allowed`, (t) => {
    for (const [value, type, allowed] of cases) {
      const error = t.throws(() => runServer({ port: 0, [name]: value } as ServerOptions), {
        code: 'ERR_INVALID_OPTION',
      })
      t.is(error?.name, type, String(value))
      for (const word of [`'${name}'`, shown(value), allowed]) {
        t.true(error?.message.includes(word), `'${word}' in '${error?.message}'`)
      }
    }
    t.is(stats().threads, 0, 'nothing was started')
  })
}

test.serial('a rateLimit of which a part is wrong, missing or unknown is refused, with its name', (t) => {
  const refused = (rateLimit: object, name: string, part: string, ...words: string[]) => {
    const error = t.throws(() => runServer({ port: 0, rateLimit } as ServerOptions), {
      name,
      code: 'ERR_INVALID_OPTION',
    })
    for (const word of [`'rateLimit.${part}'`, ...words]) {
      t.true(error?.message.includes(word), `'${word}' in '${error?.message}'`)
    }
  }
  for (const [value, type, allowed] of REFUSED_RATES) {
    refused({ messagesPerSecond: value }, type, 'messagesPerSecond', shown(value), allowed)
    refused({ messagesPerSecond: 1, burst: value }, type, 'burst', shown(value), allowed)
  }
  refused({}, 'TypeError', 'messagesPerSecond', 'undefined')
  refused({ burst: 5 }, 'TypeError', 'messagesPerSecond', 'undefined')
  refused({ messagesPerSecond: 1, bursts: 5 }, 'TypeError', 'bursts', 'unknown', 'messagesPerSecond, burst')
  t.is(stats().threads, 0, 'nothing was started')
})

test.serial('the burst of a rateLimit is one second of messages, unless given', (t) => {
  const { port } = start({ rateLimit: { messagesPerSecond: 7, burst: undefined } } as unknown as ServerOptions)
  t.notThrows(() => runServer({ port, rateLimit: { messagesPerSecond: 7, burst: 7 } }), 'joins the same server')
  for (const rateLimit of [{ messagesPerSecond: 7, burst: 8 }, { messagesPerSecond: 8, burst: 7 }, undefined]) {
    t.throws(() => runServer({ port, rateLimit } as ServerOptions), { code: 'ERR_SERVER_RUNNING' })
  }
})

test.serial('above its rateLimit a socket is read more slowly, and nothing is lost', async (t) => {
  const rateLimit = { messagesPerSecond: 20, burst: 5 }
  const times: number[] = []
  const events = new Events((...[, type]) => {
    if (type === EventType.Text) times.push(performance.now())
  })
  hook(events.hook)
  const one = await client(start({ rateLimit }))
  const begin = performance.now()
  const texts = Array.from({ length: 15 }, (_, n) => String(n))
  for (const text of texts) one.send(text)
  const told = await events.some(EventType.Text, texts.length)
  t.deepEqual(
    told.map(({ data }) => data),
    texts,
  )
  for (const [n, time] of times.entries()) {
    const allowed = rateLimit.burst + ((time - begin) / 1000) * rateLimit.messagesPerSecond + 1
    t.true(n + 1 <= allowed, `message ${n} after ${time - begin} ms`)
  }
})

test.serial('an unknown option is refused, with the known ones', (t) => {
  const wrong = { port: 0, maxPayLoad: 5 } as ServerOptions
  for (const call of [() => runServer(wrong), () => runServer('127.0.0.1', 0, wrong)]) {
    const error = t.throws(call, { instanceOf: TypeError, code: 'ERR_INVALID_OPTION' })
    for (const word of ["'maxPayLoad'", 'maxPayload', 'handshakeTimeout']) t.true(error?.message.includes(word))
  }
  for (const options of [5, 'x', null]) {
    t.throws(() => runServer('127.0.0.1', 0, options as never), { instanceOf: TypeError, code: 'ERR_INVALID_OPTION' })
  }
})

test.serial('an option that is undefined is as one that is not given', (t) => {
  const given = { address: undefined, port: 0, maxPayload: undefined, print: undefined } as unknown as ServerOptions
  t.is(runServer(given).address, '127.0.0.1')
})

test.serial('a template is served on every path, as it was when the server started', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'pocketsocket-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const template = join(folder, 'page.html')
  await writeFile(template, '<!doctype html><title>Привет</title>')
  const { url } = start({ template })
  await writeFile(template, 'changed')
  for (const path of ['/', '/any/path?query']) {
    const page = await fetch(url + path)
    t.is(await page.text(), '<!doctype html><title>Привет</title>')
    t.is(page.headers.get('content-type'), 'text/html; charset=utf-8')
  }
})

test.serial('a template that is missing is an error that names the file', (t) => {
  const error = t.throws(() => start({ template: '/no/such/page.html' }), { instanceOf: Error, code: 'ERR_TEMPLATE' })
  t.true(error?.message.includes('/no/such/page.html'))
  t.is(stats().threads, 0)
})

test.serial('a message in more frames than maxFragments closes its socket with 1009', async (t) => {
  const { server, events } = startNoted({ maxFragments: 2 })
  const sender = await client(server)
  sender.socket.send('tw', { fin: false })
  sender.socket.send('o', { fin: true })
  t.is((await events.first(EventType.Text)).data, 'two')
  for (const fin of [false, false, true]) sender.socket.send('x', { fin })
  t.is((await sender.closed).code, 1009)
})

test.serial('broadcast relays each message to all but its sender, and the hook gets it too', async (t) => {
  const { server, events } = startNoted({ broadcast: true })
  const [a, b, c] = [await client(server), await client(server), await client(server)]
  a.send('from a 😀')
  t.is(await b.text(), 'from a 😀')
  t.is(await c.text(), 'from a 😀')
  b.send(Buffer.from([1, 2, 3]))
  t.deepEqual(await a.receive(), { data: Buffer.from([1, 2, 3]), binary: true })
  t.deepEqual(await c.receive(), { data: Buffer.from([1, 2, 3]), binary: true })
  t.is((await events.first(EventType.Text)).data, 'from a 😀')
  t.deepEqual((await events.first(EventType.Binary)).data, Buffer.from([1, 2, 3]))
  t.is(a.left + b.left + c.left, 0, 'no sender got its own')
})

test.serial('broadcast works without any hook', async (t) => {
  const program = fixture(t, 'server', ['silent', 'broadcast=true'])
  const { url } = await program.told<{ url: string }>()
  const [a, b] = [await Client.connect(url), await Client.connect(url)]
  // More than would wait for a hook.
  for (let n = 0; n < 5000; n++) a.send(String(n))
  for (let n = 0; n < 5000; n++) if ((await b.text()) !== String(n)) t.fail(`message ${n}`)
  t.is(a.left, 0)
})

test.serial('print writes a line an event, with control characters escaped', async (t) => {
  const program = fixture(t, 'server', ['print=true'])
  const { url } = await program.told<{ url: string }>()
  const one = await Client.connect(`${url}/path`)
  one.send('a\u001b[2J\nb')
  await one.text()
  one.send(Buffer.alloc(5))
  await one.close(4000, 'bye')
  const lines = [await program.line(), await program.line(), await program.line(), await program.line()]
  const uuid = lines[0]?.split(' ')[0] as string
  t.deepEqual(lines, [
    `${uuid} connect 127.0.0.1 /path`,
    `${uuid} text 7 a\\u{1b}[2J\\nb`,
    `${uuid} binary 5`,
    `${uuid} close 4000 bye`,
  ])
})

test.serial('a socket beyond maxConnections gets 503, and the next one its place', async (t) => {
  const { server, events } = startNoted({ maxConnections: 2 })
  const first = await known(server, events)
  await known(server, events)
  await t.throwsAsync(client(server), { message: /503/ })
  t.is((await fetch(server.url)).status, 200, 'pages are served all the same')
  await first.client.close()
  await events.first(EventType.Close)
  const third = await known(server, events)
  t.is(send(third.uuid, MessageKind.Text, 'welcome'), 0)
  t.is(await third.client.text(), 'welcome')
})

test.serial(
  'POCKETSOCKET_LOG=debug writes a readable log to standard error, and without it there is none',
  async (t) => {
    for (const level of ['debug', undefined]) {
      const program = fixture(t, 'server', [], { POCKETSOCKET_LOG: level })
      const { url } = await program.told<{ url: string }>()
      const one = await Client.connect(`${url}/where`)
      one.send('exit')
      const { stderr } = await program.exit()
      if (level === undefined) t.is(stderr, '')
      else {
        t.regex(stderr, /\d\d:\d\d:\d\d \+\d+\.\d{3}s info {2}listening on 127\.0\.0\.1:\d+/)
        t.regex(stderr, /debug [0-9a-f-]{36} opened: \/where/)
      }
    }
  },
)
