// What is sent arrives as it was, both ways.

import test from 'ava'
import { bufferedAmount, EventType, hook, MessageKind, send, sendAll } from 'pocketsocket'
import { cleanUp, client, known, start, startNoted } from './support/server.js'
import { eventually } from './support/wait.js'

cleanUp(test)

const MIB = 1 << 20
const TEXTS: Record<string, string> = {
  'an empty text': '',
  'plain text': 'Howdy...',
  'Latin-1': 'crème brûlée ÿ',
  Cyrillic: 'Привет, мир',
  emoji: 'a😀👩‍👩‍👧 🇺🇦',
  'a NUL': 'before\0after',
  'line ends': 'a\nb\r\nc\u2028d',
  '1 MiB of ASCII': 'x'.repeat(MIB),
  '1 MiB of Cyrillic': 'ы'.repeat(MIB / 2),
  'texts around the first guess of 1,024 bytes': `${'é'.repeat(510)}xyz`,
}

for (const [name, text] of Object.entries(TEXTS)) {
  test.serial(`text arrives as it was, both ways: ${name}`, async (t) => {
    const { server, events } = startNoted()
    const { client, uuid } = await known(server, events)
    client.send(text)
    const event = await events.first(EventType.Text)
    t.is(event.kind, EventType.Text)
    t.true(event.data === text)
    t.is(send(uuid, MessageKind.Text, text), 0)
    t.true((await client.text()) === text)
    // Not at once: together they might pass the send limit.
    await eventually(() => bufferedAmount(uuid) === 0, 'it has left')
    t.is(sendAll(MessageKind.Text, text), 0)
    t.true((await client.text()) === text)
  })
}

test.serial('text of every length around the buffer sizes arrives whole', async (t) => {
  const { server, events } = startNoted()
  const { client, uuid } = await known(server, events)
  const lengths = [1018, 1019, 1020, 1021, 1022, 1023, 1024, 1025, 4095, 4096, 4097, 65_535, 65_536, 65_537]
  for (const length of lengths) {
    for (const char of ['x', 'é', 'ы', '😀']) {
      const text = char.repeat(length / char.length)
      send(uuid, MessageKind.Text, text)
      t.true((await client.text()) === text, `${length} of ${char}`)
    }
  }
})

test.serial('lone surrogates are sent as U+FFFD, as browsers do', async (t) => {
  const { server, events } = startNoted()
  const { client, uuid } = await known(server, events)
  send(uuid, MessageKind.Text, 'a\ud83d b\ude00')
  send(uuid, MessageKind.Text, '\ud83d'.repeat(2000))
  sendAll(MessageKind.Text, '\udc00')
  t.deepEqual(await client.texts(3), ['a\ufffd b\ufffd', '\ufffd'.repeat(2000), '\ufffd'])
})

test.serial('bytes of UTF-8 may be sent as text', async (t) => {
  const { server, events } = startNoted()
  const { client, uuid } = await known(server, events)
  send(uuid, MessageKind.Text, Buffer.from('Привет 😀'))
  t.is(await client.text(), 'Привет 😀')
})

test.serial('a string may be sent as binary, as its UTF-8', async (t) => {
  const { server, events } = startNoted()
  const { client, uuid } = await known(server, events)
  send(uuid, MessageKind.Binary, 'Привет 😀')
  const { data, binary } = await client.receive()
  t.true(binary)
  t.deepEqual(data, Buffer.from('Привет 😀'))
})

const numbers = Uint8Array.from({ length: 32 }, (_, n) => n)
const shared = new SharedArrayBuffer(4)
new Uint8Array(shared).set([1, 2, 3, 4])

const BINARY: Record<string, [data: ArrayBuffer | SharedArrayBuffer | ArrayBufferView, bytes: number[]]> = {
  'a Buffer': [Buffer.from([0, 255, 128]), [0, 255, 128]],
  'an empty Buffer': [Buffer.alloc(0), []],
  'a Uint8Array at an offset': [numbers.subarray(5, 9), [5, 6, 7, 8]],
  'a DataView at an offset': [new DataView(numbers.buffer, 3, 2), [3, 4]],
  'a Uint16Array at an offset': [new Uint16Array(numbers.buffer, 4, 2), [4, 5, 6, 7]],
  'a Float64Array': [Float64Array.of(1), [0, 0, 0, 0, 0, 0, 240, 63]],
  'an Int8Array': [Int8Array.of(-1, 1), [255, 1]],
  'an ArrayBuffer': [numbers.buffer.slice(1, 3), [1, 2]],
  'an empty ArrayBuffer': [new ArrayBuffer(0), []],
  'a SharedArrayBuffer': [shared, [1, 2, 3, 4]],
  'a view of a SharedArrayBuffer': [new Uint8Array(shared, 1, 2), [2, 3]],
}

for (const [name, [data, bytes]] of Object.entries(BINARY)) {
  test.serial(`binary is sent from ${name}`, async (t) => {
    const { server, events } = startNoted()
    const { client, uuid } = await known(server, events)
    t.is(send(uuid, MessageKind.Binary, data), 0)
    t.is(sendAll(MessageKind.Binary, data), 0)
    for (let n = 0; n < 2; n++) {
      const received = await client.receive()
      t.true(received.binary)
      t.deepEqual([...received.data], bytes)
    }
  })
}

test.serial('bytes are copied when they are sent: a later change changes nothing', async (t) => {
  const { server, events } = startNoted()
  const { client, uuid } = await known(server, events)
  const bytes = Buffer.from('as it was')
  send(uuid, MessageKind.Binary, bytes)
  sendAll(MessageKind.Binary, bytes)
  bytes.fill(0)
  t.is((await client.receive()).data.toString(), 'as it was')
  t.is((await client.receive()).data.toString(), 'as it was')
})

test.serial('received binary is a Buffer of its own, valid for as long as it is kept', async (t) => {
  const { server, events } = startNoted()
  const { client } = await known(server, events)
  const count = 1000
  const sent = Array.from({ length: count }, (_, n) => Buffer.alloc(n % 2 === 0 ? 3 : 5000, `${n},`))
  for (const bytes of sent) client.send(bytes)
  await events.until(() => events.all.length > count, 'all messages')
  const kept = events.of(EventType.Binary).map((event) => event.data)
  // More traffic goes through the same slabs, and what is kept may be changed.
  for (const bytes of sent) client.send(bytes.toString())
  await events.until(() => events.all.length > 2 * count, 'the texts')
  kept[0]?.fill(0xff)
  t.is(kept.length, count)
  t.true(kept.every((bytes) => Buffer.isBuffer(bytes)))
  for (let n = 1; n < count; n++) {
    if (!kept[n]?.equals(sent[n] as Buffer)) t.fail(`message ${n} has changed`)
  }
})

test.serial('an event is relayed as it came: text stays text, binary stays binary', async (t) => {
  hook((uuid, eventType, event) => send(uuid, eventType, event))
  const echo = await client(start())
  echo.send('text 😀')
  echo.send(Buffer.from([1, 2, 3]))
  echo.send('')
  echo.send(Buffer.alloc(0))
  const received = []
  for (let n = 0; n < 4; n++) received.push(await echo.receive())
  t.deepEqual(
    received.map(({ data, binary }) => [binary, data.toString('latin1')]),
    [
      [false, Buffer.from('text 😀').toString('latin1')],
      [true, '\x01\x02\x03'],
      [false, ''],
      [true, ''],
    ],
  )
})

test.serial('pings and pongs can be sent; those of the client do not reach the hook', async (t) => {
  const { server, events } = startNoted()
  const { client, uuid } = await known(server, events)
  const control: [string, string][] = []
  client.socket.on('ping', (data) => control.push(['ping', data.toString()]))
  client.socket.on('pong', (data) => control.push(['pong', data.toString()]))
  send(uuid, MessageKind.Ping, 'are you there?')
  send(uuid, MessageKind.Pong, Buffer.from('unasked'))
  sendAll(MessageKind.Ping, 'x'.repeat(125))
  client.socket.ping('mine')
  await eventually(() => control.length === 4, 'four control frames')
  const expected: [string, string][] = [
    ['ping', 'are you there?'],
    ['pong', 'unasked'],
    ['ping', 'x'.repeat(125)],
  ]
  t.deepEqual(
    control.filter(([, data]) => data !== 'mine'),
    expected,
  )
  t.true(
    control.some(([kind, data]) => kind === 'pong' && data === 'mine'),
    'the server answered by itself',
  )
  client.send('after')
  t.is((await events.first(EventType.Text)).data, 'after')
  t.deepEqual(
    events.all.map(({ type }) => type),
    [EventType.Connect, EventType.Text],
  )
})

test.serial('a message of maxPayload arrives; one more byte closes its socket with 1009', async (t) => {
  const { server, events } = startNoted({ maxPayload: 1000 })
  const { client } = await known(server, events)
  client.send(Buffer.alloc(1000))
  t.is((await events.first(EventType.Binary)).data.length, 1000)
  client.send(Buffer.alloc(1001))
  t.is((await client.closed).code, 1009)
  const close = await events.first(EventType.Close)
  t.is(close.code, 1009)
  t.false(close.wasClean)
  t.is(events.of(EventType.Binary).length, 1)
})

test.serial('fragments, also too many of them, are one message', async (t) => {
  const { server, events } = startNoted({ maxPayload: 1000 })
  const { client } = await known(server, events)
  for (let n = 0; n < 10; n++) client.socket.send('Привет 😀 ', { fin: n === 9 })
  t.is((await events.first(EventType.Text)).data, 'Привет 😀 '.repeat(10))
  for (let n = 0; n < 11; n++) client.socket.send(Buffer.alloc(100), { fin: false })
  t.is((await client.closed).code, 1009, 'the sum counts')
})

test.serial('Connect tells of the request', async (t) => {
  const { server, events } = startNoted()
  await client(server, { headers: { 'X-Name': 'café', Cookie: 'a=1' } }, ['chat', 'other'])
  const { request, resumed, kind, data } = await events.first(EventType.Connect)
  t.false(resumed)
  t.is(kind, 0)
  t.is(data, '')
  t.is(request.url, '/')
  t.is(request.remoteAddress, '127.0.0.1')
  t.is(request.protocol, 'chat')
  t.is(request.headers['x-name'], 'café')
  t.is(request.headers.cookie, 'a=1')
  t.is(request.headers.host, `127.0.0.1:${server.port}`)
  t.false('constructor' in request.headers, 'no name that was not sent')
})
