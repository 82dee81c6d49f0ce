// Wrong arguments throw, with a stable code and a text that says what is allowed.

import test, { type ExecutionContext } from 'ava'
import {
  bufferedAmount,
  closeRemoveClient,
  has,
  hook,
  MessageKind,
  pause,
  publish,
  resume,
  runServer,
  SendStatus,
  send,
  sendAll,
  shutdownServer,
  subscribe,
  topics,
  unsubscribe,
} from 'pocketsocket'
import { cleanUp, known, startNoted } from './support/server.js'

cleanUp(test)

/** Calls as JavaScript would, where no compiler checks. */
type Any = (...args: unknown[]) => unknown
const any = (call: unknown) => call as Any

function refuses(t: ExecutionContext, call: () => unknown, type: ErrorConstructor, code: string, ...words: string[]) {
  const error = t.throws(call, { instanceOf: type, code })
  t.is(error?.constructor, type)
  for (const word of words) t.true(error?.message.includes(word), `'${word}' in '${error?.message}'`)
}

/** An argument is wrong or it is not: the same with a socket, without one, and without a server. */
async function withSockets(t: ExecutionContext, check: (uuid: string) => void) {
  check('01234567-89ab-8def-8123-456789abcdef')
  const { server, events } = startNoted()
  const { client, uuid } = await known(server, events)
  check('01234567-89ab-8def-8123-456789abcdef')
  check(uuid)
  t.is(send(uuid, MessageKind.Text, 'unharmed'), SendStatus.Ok)
  t.is(await client.text(), 'unharmed')
}

test.serial('a kind that is neither a message nor an event is refused', async (t) => {
  await withSockets(t, (uuid) => {
    for (const kind of [7, -1, 8, 11, 256, 1.5, Number.NaN, 2 ** 32 + 1]) {
      refuses(t, () => send(uuid, kind, 'x'), RangeError, 'ERR_INVALID_KIND', String(kind), '1 (text)')
      refuses(t, () => sendAll(kind, 'x'), RangeError, 'ERR_INVALID_KIND')
      refuses(t, () => publish('topic', kind, 'x'), RangeError, 'ERR_INVALID_KIND')
    }
    for (const kind of ['x', '1', null, undefined, true, {}]) {
      refuses(t, () => any(send)(uuid, kind, 'x'), TypeError, 'ERR_INVALID_KIND')
    }
  })
})

test.serial('data that is neither text, bytes nor an event is refused', async (t) => {
  await withSockets(t, (uuid) => {
    for (const data of [
      5,
      null,
      undefined,
      true,
      {},
      [],
      { data: 'x' },
      { kind: 1, data: 5 },
      () => 'x',
      Symbol('x'),
    ]) {
      refuses(t, () => any(send)(uuid, 1, data), TypeError, 'ERR_INVALID_DATA', 'a string')
      refuses(t, () => any(sendAll)(1, data), TypeError, 'ERR_INVALID_DATA')
      refuses(t, () => any(publish)('topic', 2, data), TypeError, 'ERR_INVALID_DATA')
    }
  })
})

test.serial('a ping or pong carries at most 125 bytes', async (t) => {
  await withSockets(t, (uuid) => {
    for (const kind of [MessageKind.Ping, MessageKind.Pong]) {
      for (const data of [Buffer.alloc(126), 'x'.repeat(126), 'é'.repeat(63)]) {
        refuses(t, () => send(uuid, kind, data), RangeError, 'ERR_MESSAGE_TOO_LONG', '125')
        refuses(t, () => sendAll(kind, data), RangeError, 'ERR_MESSAGE_TOO_LONG')
        refuses(t, () => publish('topic', kind, data), RangeError, 'ERR_MESSAGE_TOO_LONG')
      }
      t.notThrows(() => send(uuid, kind, 'x'.repeat(125)))
    }
  })
})

test.serial('bytes sent as text have to be UTF-8', async (t) => {
  await withSockets(t, (uuid) => {
    // A lone byte, an overlong form, a surrogate, one cut short.
    for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf0, 0x9f, 0x98]]) {
      const data = Uint8Array.from(bytes)
      refuses(t, () => send(uuid, 1, data), TypeError, 'ERR_INVALID_UTF8', 'UTF-8')
      refuses(t, () => sendAll(1, data), TypeError, 'ERR_INVALID_UTF8')
      refuses(t, () => publish('topic', 1, data), TypeError, 'ERR_INVALID_UTF8')
    }
  })
})

test.serial('a uuid that is no string is refused', async (t) => {
  await withSockets(t, () => {
    for (const uuid of [undefined, null, 5, {}, ['x']]) {
      refuses(t, () => any(send)(uuid, 1, 'x'), TypeError, 'ERR_INVALID_UUID')
      for (const call of [closeRemoveClient, pause, resume, has, bufferedAmount, topics]) {
        refuses(t, () => any(call)(uuid), TypeError, 'ERR_INVALID_UUID')
      }
      for (const call of [subscribe, unsubscribe]) {
        refuses(t, () => any(call)(uuid, 'topic'), TypeError, 'ERR_INVALID_UUID')
      }
    }
    for (const origin of [5, {}, true]) {
      refuses(t, () => any(sendAll)(1, 'x', origin), TypeError, 'ERR_INVALID_UUID')
      refuses(t, () => any(publish)('topic', 1, 'x', origin), TypeError, 'ERR_INVALID_UUID')
    }
  })
})

test.serial('a close code that an endpoint must not send is refused', async (t) => {
  await withSockets(t, (uuid) => {
    for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_536 + 1000, -1, 1000.5, Number.NaN]) {
      refuses(t, () => closeRemoveClient(uuid, code), RangeError, 'ERR_INVALID_CLOSE', String(code), '3000-4999')
    }
    for (const code of ['1000', null, {}]) {
      refuses(t, () => any(closeRemoveClient)(uuid, code), TypeError, 'ERR_INVALID_CLOSE')
    }
  })
})

test.serial('a close reason has at most 123 bytes of UTF-8', async (t) => {
  await withSockets(t, (uuid) => {
    for (const reason of ['x'.repeat(124), 'é'.repeat(62)]) {
      refuses(t, () => closeRemoveClient(uuid, 1000, reason), RangeError, 'ERR_INVALID_CLOSE', '124', '123')
    }
    refuses(t, () => any(closeRemoveClient)(uuid, 1000, 5), TypeError, 'ERR_INVALID_CLOSE')
  })
})

for (const code of [1000, 1001, 1003, 1007, 1014, 3000, 4999]) {
  test.serial(`close code ${code} is sent as given, with a reason of 123 bytes`, async (t) => {
    const { server, events } = startNoted()
    const { client, uuid } = await known(server, events)
    const reason = `${'é'.repeat(61)}x`
    t.is(closeRemoveClient(uuid, code, reason), 0)
    t.deepEqual(await client.closed, { code, reason })
  })
}

test.serial('a topic has 1 to 256 bytes of UTF-8', async (t) => {
  await withSockets(t, (uuid) => {
    for (const topic of ['', 'x'.repeat(257), 'é'.repeat(129)]) {
      for (const call of [subscribe, unsubscribe]) {
        refuses(t, () => call(uuid, topic), RangeError, 'ERR_INVALID_TOPIC', '1 to 256')
      }
      refuses(t, () => publish(topic, 1, 'x'), RangeError, 'ERR_INVALID_TOPIC')
    }
    for (const topic of [5, null, undefined, {}]) {
      refuses(t, () => any(subscribe)(uuid, topic), TypeError, 'ERR_INVALID_TOPIC')
      refuses(t, () => any(publish)(topic, 1, 'x'), TypeError, 'ERR_INVALID_TOPIC')
    }
    for (const topic of ['x', 'x'.repeat(256), 'é'.repeat(128)]) t.notThrows(() => subscribe(uuid, topic))
  })
})

test.serial('a hook is a function or null', (t) => {
  for (const fn of [undefined, 5, 'hook', {}]) {
    refuses(t, () => any(hook)(fn), TypeError, 'ERR_INVALID_HOOK', 'function')
  }
})

test.serial('a shutdown timeout is a number of milliseconds', (t) => {
  for (const timeout of [-1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31]) {
    refuses(t, () => shutdownServer({ timeout }), RangeError, 'ERR_INVALID_OPTION', 'timeout', '2147483647')
  }
  for (const timeout of ['1', true, {}]) {
    refuses(t, () => any(shutdownServer)({ timeout }), TypeError, 'ERR_INVALID_OPTION')
  }
  const { port } = runServer({ port: 0 })
  t.throws(() => shutdownServer({ timeout: -1 }))
  t.is(runServer({ port: 0 }).port, port, 'it was not shut down')
})
