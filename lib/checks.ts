// What users give, checked: each error has a stable code and says what is allowed.

import type { Data, ServerOptions } from '../index.js'

type ErrorClass = typeof Error | typeof TypeError | typeof RangeError

/** An error with a stable code. */
export function failure(type: ErrorClass, code: string, message: string): Error {
  return Object.assign(new type(message), { code })
}

/** A value as an error message shows it: short, and on one line. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return `'${value.length > 40 ? `${value.slice(0, 40)}…` : value}'`
  if (typeof value === 'function') return 'a function'
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'object' && value !== null) return 'an object'
  return String(value)
}

function badOption(type: ErrorClass, name: string, value: unknown, allowed: string): Error {
  return failure(type, 'ERR_INVALID_OPTION', `option '${name}' is ${shown(value)}: allowed is ${allowed}`)
}

/** Options that are whole numbers: least, most, unit. As in the server, which would not see that -1 or 1.5 was given. */
const NUMBERS = {
  maxPayload: [1, 2 ** 30, 'bytes'],
  maxFragments: [1, 2 ** 24, 'frames'],
  idleTimeout: [0, 86_400, 'seconds, 0 is never'],
  pingInterval: [0, 86_400, 'seconds, 0 is never'],
  handshakeTimeout: [1, 600_000, 'milliseconds'],
  closeTimeout: [1, 600_000, 'milliseconds'],
  backpressureLimit: [1, 2 ** 30, 'bytes'],
  maxConnections: [1, 2 ** 22 - 1, 'sockets'],
  maxConnectionsPerAddress: [1, 2 ** 22 - 1, 'connections'],
  maxHeaders: [1, 10_000, 'headers'],
  maxHeaderBytes: [8192, 2 ** 18, 'bytes'],
  inboundLimit: [1, 2 ** 30, 'bytes'],
  inboundTotal: [1, 2 ** 40, 'bytes'],
  backpressureTotal: [1, 2 ** 40, 'bytes'],
  threads: [1, 64, 'threads'],
  brokerTimeout: [1, 600_000, 'milliseconds'],
} as const satisfies Partial<Record<keyof ServerOptions, [number, number, string]>>

const FLAGS = ['broadcast', 'print', 'reusePort'] as const satisfies (keyof ServerOptions)[]

const KNOWN = new Set<string>([
  'address',
  'port',
  'unix',
  'template',
  'dropPolicy',
  'rateLimit',
  'allowedOrigins',
  'authorize',
  'trustProxy',
  'broker',
  'brokerPrefix',
  ...FLAGS,
  ...Object.keys(NUMBERS),
])

/** Checks the options of `runServer`; gives a copy without what is undefined. */
export function checkOptions(options: unknown): ServerOptions & { address: string; port: number } {
  if (typeof options !== 'object' || options === null) {
    throw failure(TypeError, 'ERR_INVALID_OPTION', `options are ${shown(options)}: allowed is an object`)
  }
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  for (const name of Object.keys(given)) {
    if (!KNOWN.has(name)) {
      const known = [...KNOWN].join(', ')
      throw failure(TypeError, 'ERR_INVALID_OPTION', `option '${name}' is unknown: known are ${known}`)
    }
  }
  const { address = '127.0.0.1', port = 8090 } = given
  if (typeof address !== 'string' || address === '') {
    throw badOption(TypeError, 'address', address, 'an IP address, or a name that resolves to one')
  }
  if (!Number.isInteger(port) || (port as number) < 0 || (port as number) > 65535) {
    const type = typeof port === 'number' ? RangeError : TypeError
    throw badOption(type, 'port', port, '0 to 65535, where 0 picks a free one')
  }
  for (const [name, [least, most, unit]] of Object.entries(NUMBERS)) {
    const value = given[name]
    if (value === undefined) continue
    const allowed = `a whole number, ${least} to ${most} (${unit})`
    if (typeof value !== 'number') throw badOption(TypeError, name, value, allowed)
    if (!(Number.isInteger(value) && value >= least && value <= most)) {
      throw badOption(RangeError, name, value, allowed)
    }
  }
  for (const name of FLAGS) {
    const value = given[name]
    if (value !== undefined && typeof value !== 'boolean') throw badOption(TypeError, name, value, 'true or false')
  }
  if (given.rateLimit !== undefined) given.rateLimit = checkRateLimit(given.rateLimit)
  const policy = given.dropPolicy
  if (policy !== undefined && policy !== 'drop' && policy !== 'close') {
    const type = typeof policy === 'string' ? RangeError : TypeError
    throw badOption(type, 'dropPolicy', policy, "'drop' or 'close'")
  }
  if (given.template !== undefined && typeof given.template !== 'string') {
    throw badOption(TypeError, 'template', given.template, "a file's path")
  }
  if (given.unix !== undefined && (typeof given.unix !== 'string' || given.unix === '' || given.unix.includes('\0'))) {
    throw badOption(TypeError, 'unix', given.unix, "a file's path")
  }
  if (given.broker !== undefined && typeof given.broker !== 'string') {
    throw badOption(TypeError, 'broker', given.broker, 'redis://host:port or nats://host:port')
  }
  if (given.brokerPrefix !== undefined && typeof given.brokerPrefix !== 'string') {
    throw badOption(TypeError, 'brokerPrefix', given.brokerPrefix, '1 to 64 of A-Z a-z 0-9 - _')
  }
  const origins = given.allowedOrigins
  if (origins !== undefined && !(Array.isArray(origins) && origins.every((origin) => typeof origin === 'string'))) {
    throw badOption(TypeError, 'allowedOrigins', origins, "an array of origins such as 'https://example.com'")
  }
  if (given.authorize !== undefined && typeof given.authorize !== 'function') {
    throw badOption(TypeError, 'authorize', given.authorize, 'a function')
  }
  checkTrustProxy(given.trustProxy)
  return { ...given, address, port: port as number }
}

/** What an address is is decided by the server. */
function checkTrustProxy(trust: unknown): void {
  const allowed = "0 to 16 proxies, or an array of addresses and ranges such as '10.0.0.0/8'"
  if (trust === undefined || (Array.isArray(trust) && trust.every((network) => typeof network === 'string'))) return
  if (typeof trust !== 'number') throw badOption(TypeError, 'trustProxy', trust, allowed)
  if (!(Number.isInteger(trust) && trust >= 0 && trust <= 16)) throw badOption(RangeError, 'trustProxy', trust, allowed)
}

/** Checks the option `rateLimit`; gives it with its default. */
function checkRateLimit(limit: unknown): NonNullable<ServerOptions['rateLimit']> {
  if (typeof limit !== 'object' || limit === null || Array.isArray(limit)) {
    throw badOption(TypeError, 'rateLimit', limit, 'an object with messagesPerSecond, and maybe burst')
  }
  for (const [name, value] of Object.entries(limit)) {
    if (name === 'messagesPerSecond' || name === 'burst' || value === undefined) continue
    const message = `option 'rateLimit.${name}' is unknown: known are messagesPerSecond, burst`
    throw failure(TypeError, 'ERR_INVALID_OPTION', message)
  }
  const { messagesPerSecond, burst = messagesPerSecond } = limit as { messagesPerSecond: number; burst?: number }
  for (const [name, value] of Object.entries({ messagesPerSecond, burst })) {
    const allowed = 'a whole number, 1 to 1000000 (messages)'
    if (typeof value !== 'number') throw badOption(TypeError, `rateLimit.${name}`, value, allowed)
    if (!(Number.isInteger(value) && value >= 1 && value <= 1_000_000)) {
      throw badOption(RangeError, `rateLimit.${name}`, value, allowed)
    }
  }
  return { messagesPerSecond, burst }
}

/** Milliseconds that a caller waits: `shutdownServer`'s timeout. */
export function checkTimeout(timeout: unknown): number {
  if (typeof timeout !== 'number') throw badOption(TypeError, 'timeout', timeout, '0 to 2147483647 (milliseconds)')
  if (!(timeout >= 0 && timeout <= 0x7fffffff)) {
    throw badOption(RangeError, 'timeout', timeout, '0 to 2147483647 (milliseconds)')
  }
  return timeout
}

/** Events that an async hook may have begun and not finished. */
export function checkMaxPending(options: unknown): number | undefined {
  if (typeof options !== 'object' || options === null) {
    throw failure(TypeError, 'ERR_INVALID_OPTION', `options are ${shown(options)}: allowed is an object`)
  }
  for (const [name, value] of Object.entries(options)) {
    if (name === 'maxPending' || value === undefined) continue
    throw failure(TypeError, 'ERR_INVALID_OPTION', `option '${name}' is unknown: known is maxPending`)
  }
  const { maxPending } = options as { maxPending?: unknown }
  if (maxPending === undefined) return undefined
  const allowed = 'a whole number, 1 to 1048576 (events)'
  if (typeof maxPending !== 'number') throw badOption(TypeError, 'maxPending', maxPending, allowed)
  if (!(Number.isInteger(maxPending) && maxPending >= 1 && maxPending <= 2 ** 20)) {
    throw badOption(RangeError, 'maxPending', maxPending, allowed)
  }
  return maxPending
}

export function checkUuid(uuid: unknown): asserts uuid is string {
  if (typeof uuid !== 'string') {
    throw failure(TypeError, 'ERR_INVALID_UUID', `uuid is ${shown(uuid)}: it must be a string that a hook was given`)
  }
}

export function checkTopic(topic: unknown): asserts topic is string {
  if (typeof topic !== 'string') {
    throw failure(TypeError, 'ERR_INVALID_TOPIC', `topic is ${shown(topic)}: it must be a string`)
  }
  const bytes = Buffer.byteLength(topic)
  if (bytes < 1 || bytes > 256) {
    throw failure(RangeError, 'ERR_INVALID_TOPIC', `topic has ${bytes} bytes: allowed are 1 to 256 bytes of UTF-8`)
  }
}

/** Several topics in one text: for each its length in bytes, a colon, its name. */
export function joinTopics(topics: readonly unknown[]): string {
  if (topics.length > 256) {
    throw failure(
      RangeError,
      'ERR_INVALID_TOPIC',
      `there are ${topics.length} topics: allowed are up to 256 in one call`,
    )
  }
  let text = ''
  for (const topic of topics) {
    checkTopic(topic)
    text += `${Buffer.byteLength(topic)}:${topic}`
  }
  return text
}

/** Several uuids in one text, 36 characters each; what has another length names no socket. */
export function joinUuids(uuids: unknown): string {
  if (!Array.isArray(uuids)) {
    throw failure(TypeError, 'ERR_INVALID_UUID', `uuids are ${shown(uuids)}: they must be an array of strings`)
  }
  let text = ''
  for (const uuid of uuids) {
    checkUuid(uuid)
    text += /^[0-9a-fA-F-]{36}$/.test(uuid) ? uuid : NO_UUID
  }
  return text
}

const NO_UUID = '-'.repeat(36)

/** Whether a kind can be sent; an event's kind that is no message is not, anything else throws. */
export function isMessageKind(kind: unknown): boolean {
  switch (kind) {
    case 1:
    case 2:
    case 9:
    case 10:
      return true
    case 0:
    case 3:
    case 4:
    case 5:
      return false
    default: {
      const allowed = '1 (text), 2 (binary), 9 (ping) or 10 (pong)'
      const type = typeof kind === 'number' ? RangeError : TypeError
      throw failure(type, 'ERR_INVALID_KIND', `kind is ${shown(kind)}: it must be ${allowed}`)
    }
  }
}

/** The bytes or the text of what is to be sent. */
export function payloadOf(data: Data): string | Uint8Array {
  if (typeof data === 'string' || data instanceof Uint8Array) return data
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  if (data instanceof ArrayBuffer || data instanceof SharedArrayBuffer) return new Uint8Array(data)
  if (typeof data === 'object' && data !== null && 'kind' in data) {
    const { data: inner } = data
    if (typeof inner === 'string' || inner instanceof Uint8Array) return inner
  }
  throw failure(
    TypeError,
    'ERR_INVALID_DATA',
    `data is ${shown(data)}: it must be a string, an ArrayBuffer, an ArrayBufferView or an event`,
  )
}

/** RFC 6455 section 7.4: the codes that an endpoint may send. */
export function checkClose(code: unknown, reason: unknown): void {
  const allowed = '1000-1003, 1007-1014 or 3000-4999'
  if (typeof code !== 'number')
    throw failure(TypeError, 'ERR_INVALID_CLOSE', `code is ${shown(code)}: it must be a number`)
  const valid =
    Number.isInteger(code) &&
    ((code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999))
  if (!valid) throw failure(RangeError, 'ERR_INVALID_CLOSE', `code is ${code}: allowed are ${allowed}`)
  if (typeof reason !== 'string') {
    throw failure(TypeError, 'ERR_INVALID_CLOSE', `reason is ${shown(reason)}: it must be a string`)
  }
  const bytes = Buffer.byteLength(reason)
  if (bytes > 123) {
    throw failure(RangeError, 'ERR_INVALID_CLOSE', `reason has ${bytes} bytes: allowed are up to 123 bytes of UTF-8`)
  }
}
