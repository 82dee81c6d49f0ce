/**
 * WebSockets you do not manage: one hook, one call, and a server on its own threads does the rest.
 *
 * Every function is synchronous and may be called from any thread of the process. Wrong arguments throw an error with a
 * stable `code`; the state of a socket never does: sending to a closed one gives a status.
 *
 * @example
 * ```ts
 * import pocketsocket from 'pocketsocket'
 *
 * pocketsocket.hook((uuid, eventType, event) => {
 *   pocketsocket.send(uuid, eventType, event)
 * })
 * pocketsocket.runServer('127.0.0.1', 8090)
 * ```
 *
 * @module
 */

import cluster from 'node:cluster'
import { attachAuthorizer, setAuthorize } from './lib/authorize.js'
import { binding } from './lib/binding.js'
import {
  checkClose,
  checkMaxPending,
  checkOptions,
  checkTimeout,
  checkTopic,
  checkUuid,
  failure,
  isMessageKind,
  joinTopics,
  joinUuids,
  payloadOf,
} from './lib/checks.js'
import { attach, current, flushSoon, keep, setHook, whenFinished } from './lib/delivery.js'

/**
 * What can happen to a socket. A message's event type is its kind, so an event can be sent on as it came.
 *
 * `Connect` comes first, `Close` last and exactly once, `Error` is the server's own.
 */
export const EventType = Object.freeze({
  /** A socket is open. */
  Connect: 0,
  /** A text message came. */
  Text: 1,
  /** A binary message came. */
  Binary: 2,
  /** A socket has ended. */
  Close: 3,
  /** Something went wrong in the server, with no single socket; goes to every hook. */
  Error: 4,
  /** A socket that dropped messages has room again: half of `backpressureLimit` or less waits. */
  Drain: 5,
} as const)
/** One of the values of {@link EventType:variable}. */
export type EventType = (typeof EventType)[keyof typeof EventType]

/** What can be sent: the opcodes of RFC 6455, section 11.8. */
export const MessageKind = Object.freeze({
  /** UTF-8 text. */
  Text: 1,
  /** Bytes. */
  Binary: 2,
  /** A ping of up to 125 bytes. The server pings by itself; this is for a purpose of your own. */
  Ping: 9,
  /** A pong of up to 125 bytes that nobody asked for. */
  Pong: 10,
} as const)
/** One of the values of {@link MessageKind:variable}. */
export type MessageKind = (typeof MessageKind)[keyof typeof MessageKind]

/** What became of a message. */
export const SendStatus = Object.freeze({
  /** Taken. It is lost only if the socket ends before it left. */
  Ok: 0,
  /** The socket is closed, or never was. */
  Unknown: 1,
  /** A limit was reached and the message dropped; a {@link EventType:variable}.Drain tells when there is room again. */
  Dropped: 2,
  /** The kind is an event's but no message's, so nothing was sent: a hook may relay all that it gets. */
  NotAMessage: 3,
} as const)
/** One of the values of {@link SendStatus:variable}. */
export type SendStatus = (typeof SendStatus)[keyof typeof SendStatus]

/** The request that opened a socket. Its headers are made when they are first asked for. */
export interface Request {
  /** Path and query, as sent. */
  readonly url: string
  /** By name in lower case; what was repeated is joined as in `node:http`. */
  readonly headers: Readonly<Record<string, string>>
  /** The client's IP address, without its port: the connection's, or what a proxy says that `trustProxy` trusts. */
  readonly remoteAddress: string
  /** The subprotocol that was agreed on: the first one offered or the one that `authorize` chose, else `''`. */
  readonly protocol: string
  /** What `authorize` said of the socket, else `''`. */
  readonly data: string
}

/** A handshake that waits for {@link ServerOptions.authorize}. */
export interface AuthorizeRequest {
  /** Path and query, as sent. */
  readonly url: string
  /** By name in lower case; what was repeated is joined as in `node:http`. */
  readonly headers: Readonly<Record<string, string>>
  /** As {@link Request.remoteAddress}. */
  readonly remoteAddress: string
  /** The subprotocols that the client offers, in its order. */
  readonly protocols: readonly string[]
}

/**
 * What becomes of a handshake: `true` opens the socket, `false` refuses it with 403.
 *
 * An object with `status` (200 to 599) refuses it with that answer; `headers` (up to 16 KiB) and `body` (up to 64 KiB) may be left
 * out. An object with `protocol` or `data` opens the socket: `protocol` is one of those offered, `''` is none, without it the first
 * is agreed on; `data`, up to 4,096 bytes, comes with the socket's Connect as {@link Request.data}, also with a resumed one.
 */
export type Verdict =
  | boolean
  | {
      readonly status: number
      readonly headers?: Readonly<Record<string, string | readonly string[]>>
      readonly body?: string | Uint8Array
    }
  | { readonly protocol?: string; readonly data?: string }

/** Decides about a handshake. See {@link ServerOptions.authorize}. */
export type Authorize = (request: AuthorizeRequest) => Verdict | PromiseLike<Verdict>

/** A socket is open. */
export interface ConnectEvent {
  readonly kind: typeof EventType.Connect
  readonly data: ''
  readonly request: Request
  /**
   * Another hook had this socket before, and has left it. Its `request.headers` are empty then; so are those of a socket
   * that opened while events were discarded.
   */
  readonly resumed: boolean
}

/** A text message. */
export interface TextEvent {
  readonly kind: typeof EventType.Text
  readonly data: string
}

/** A binary message. */
export interface BinaryEvent {
  readonly kind: typeof EventType.Binary
  /** Yours to keep and to change. */
  readonly data: Buffer
}

/** A socket has ended. */
export interface CloseEvent {
  readonly kind: typeof EventType.Close
  readonly data: ''
  /**
   * RFC 6455 section 7.4: the client's code, or the one that the server sent (1001 idle or shutdown, 1002 protocol, 1007
   * UTF-8, 1009 too big, 1013 did not read); 1005 for none, 1006 for a connection that broke.
   */
  readonly code: number
  /** At most 123 bytes. */
  readonly reason: string
  /** The closing handshake was completed, both ways. */
  readonly wasClean: boolean
}

/** Something went wrong in the server, which goes on. */
export interface ErrorEvent {
  readonly kind: typeof EventType.Error
  readonly data: ''
  /** With a stable code, such as `ERR_ACCEPT`. */
  readonly error: Error & { readonly code: string }
}

/** A socket that dropped messages has room again. */
export interface DrainEvent {
  readonly kind: typeof EventType.Drain
  readonly data: ''
}

/** What a hook gets. */
export type Event = ConnectEvent | TextEvent | BinaryEvent | CloseEvent | ErrorEvent | DrainEvent

/**
 * A hook's arguments: the socket, what happened, and the event. Checking `eventType` narrows `event`.
 *
 * The `uuid` of an {@link ErrorEvent} is `''`.
 */
export type HookArguments = {
  [E in Event as E['kind']]: [uuid: string, eventType: E['kind'], event: E]
}[Event['kind']]

/** Gets every event. What it returns is ignored; what it throws becomes an uncaught exception and stops nothing. */
export type Hook = (...args: HookArguments) => unknown

/** What can be sent: text, bytes, or an event as it came. Bytes are copied before the call returns. */
export type Data = string | ArrayBuffer | SharedArrayBuffer | ArrayBufferView | Event

/** Options of {@link runServer}. What is out of range throws a `RangeError` with code `ERR_INVALID_OPTION`. */
export interface ServerOptions {
  /** An IP address, or a name that resolves to one. Default `127.0.0.1`: only this machine. */
  address?: string
  /** TCP port, 0 to 65535; 0 picks a free one. Default 8090. */
  port?: number
  /**
   * Let other processes listen on the same port, if they ask for it too: the system shares the connections out. Not on
   * Windows. Default true inside of a process of Node's `cluster`, else false.
   */
  reusePort?: boolean
  /**
   * Listen on a Unix domain socket at this path, and on no address and port. The file of a server that has died is
   * replaced, and removed at the shutdown; who may connect is a matter of its permissions. Not on Windows. Default: none.
   */
  unix?: string
  /** Largest message from a client, bytes; a larger one closes its socket with 1009. 1 to 2^30, default 1 MiB. */
  maxPayload?: number
  /** How many frames a client's message may come in; one of more closes its socket with 1009. 1 to 2^24, default 16,384. */
  maxFragments?: number
  /**
   * How many messages a socket may bring in. Above it the socket is not read until it may again: nothing is lost and nobody is
   * closed, TCP slows its client down. Default: none.
   */
  rateLimit?: RateLimit
  /**
   * A socket from which nothing came for so many seconds is closed with 1001; one to which nothing could be written for as
   * long, although something waits, with 1013. 0 (never) to 86,400, default 75.
   */
  idleTimeout?: number
  /** A socket from which nothing came for so many seconds is pinged. 0 (never) to 86,400, default 30. */
  pingInterval?: number
  /** From connecting to the end of the request, milliseconds. 1 to 600,000, default 10,000. */
  handshakeTimeout?: number
  /** A closing handshake, milliseconds; then the connection is cut. 1 to 600,000, default 5,000. */
  closeTimeout?: number
  /** What may wait to be sent to one socket, bytes; more is dropped. 1 to 2^30, default 1 MiB. */
  backpressureLimit?: number
  /**
   * What happens at a message for which `backpressureLimit` has no room, beside that it is dropped. `'drop'`: a Drain tells of
   * room later. `'close'`: its socket is closed with 1013, for clients that must miss nothing and connect anew. Default `'drop'`.
   */
  dropPolicy?: 'drop' | 'close'
  /** Sockets at once; more get 503. 1 to 4,194,303, default 90 % of the process's open-file limit. */
  maxConnections?: number
  /**
   * Connections of one client address, one of IPv6 with all that share its first 64 bits; more get 429. This machine's own and
   * Unix sockets are not counted. Behind a proxy set `trustProxy`, or all clients are one. 1 to 4,194,303, default 256.
   */
  maxConnectionsPerAddress?: number
  /**
   * Which proxies are believed when `X-Forwarded-For` says where a request comes from: how many stand one behind the other before
   * each connection, 0 to 16, or their addresses and ranges, such as `['10.0.0.0/8', '::1']`. The latter is safe also if clients
   * can connect past them. Who connects to a Unix socket is taken for one of them. Default 0: a client's address is its
   * connection's.
   */
  trustProxy?: number | string[]
  /**
   * Decides about each handshake that the server would take, before a socket is opened, on the thread that called `runServer`. If
   * it throws, rejects or gives no {@link Verdict:type} the client gets 500 and the error is an uncaught exception or unhandled
   * rejection (`ERR_INVALID_VERDICT` for the last). A promise may take `handshakeTimeout`; then, or if the thread stands still
   * for so long or has ended, the client gets 503. Threads that join a server give one too, which is not used. Default: every
   * handshake is taken.
   *
   * @example
   * ```ts
   * import { runServer } from 'pocketsocket'
   * declare function userOf(cookie: string): Promise<string | undefined>
   *
   * runServer({
   *   authorize: async ({ headers }) => {
   *     const user = await userOf(headers.cookie ?? '')
   *     return user === undefined ? { status: 401, body: 'log in first' } : { data: user }
   *   },
   * })
   * ```
   */
  authorize?: Authorize
  /** Headers of a request; more get 431. 1 to 10,000, default 100. */
  maxHeaders?: number
  /** Size of a request, bytes; a larger one gets 431. 8,192 to 2^18, default 16 KiB. */
  maxHeaderBytes?: number
  /**
   * What may wait of one socket for its hook, bytes, with 16 a message; then the socket is not read, and TCP slows its sender
   * down. One larger message may wait. 1 to 2^30, default 64 KiB.
   */
  inboundLimit?: number
  /** What may wait for hooks in all, bytes; then sockets of which something waits are not read. 1 to 2^40, default 64 MiB. */
  inboundTotal?: number
  /** What may wait to be sent in all, bytes; more is dropped. A broadcast counts once until it is fanned out. 1 to 2^40, default 256 MiB. */
  backpressureTotal?: number
  /** I/O threads. 1 to 64, default cores - 1, at least 1, at most 4. */
  threads?: number
  /** An HTML file for browsers, read once. Default `templates/index.html` if there is one, else a built-in page. */
  template?: string
  /** Relay each message to all sockets but its sender, in Rust; a hook gets the events all the same. Default false. */
  broadcast?: boolean
  /** Write one line an event to standard output, control characters escaped. Default false. */
  print?: boolean
  /**
   * Origins of pages that may connect, such as `https://example.com`; `*` is any. Default: on a loopback address the
   * pages of this machine, else those of the server's own host. Clients that are no browsers always may.
   */
  allowedOrigins?: string[]
  /**
   * The broker that makes one of several servers: `redis://host:port` (Redis 6 or newer) or `nats://host:port`, with
   * `user:password@` before the host where it is needed. `sendAll` and `publish` then reach the sockets of all, and uuids
   * work everywhere. Default: the environment variable `POCKETSOCKET_BROKER`, else none.
   */
  broker?: string
  /** Begins the names of the broker's channels: servers with the same one are one application. 1 to 64 of `A-Z a-z 0-9 - _`, default `pocketsocket`. */
  brokerPrefix?: string
  /** How long the broker may take to answer, milliseconds: `runServer` throws then, a running server connects anew. 1 to 600,000, default 3,000. */
  brokerTimeout?: number
}

/**
 * How many messages a socket may bring in: option `rateLimit` of {@link runServer}. Text and binary messages count, in however many
 * frames they come; pings, pongs and Closes do not, but wait behind the messages before them.
 */
export interface RateLimit {
  /** In the long run, messages a second. 1 to 1,000,000. */
  messagesPerSecond: number
  /**
   * At once after a silence, messages. The server waits in steps of 1 ms: a burst of less than some milliseconds' worth lowers
   * the rate. 1 to 1,000,000, default `messagesPerSecond`.
   */
  burst?: number
}

/** Options of {@link hook}. */
export interface HookOptions {
  /**
   * How many promises of an async hook may be unsettled: at so many the thread takes no more events, which wait in the
   * bounded queues of their sockets. A rejection is an unhandled one, and frees its place. Events of one socket are begun in
   * order; with 1 each is finished before the next is begun. A promise that never settles holds its place for good. 1 to
   * 1,048,576, default: not counted.
   */
  maxPending?: number
}

/** Figures of the server, all 0 without one. Those without "now" count from the server's start. */
export interface Stats {
  /** Sockets that are open now. */
  connections: number
  /** Bytes that wait to be sent now, with 16 a message for its keep. */
  bufferedBytes: number
  /** Bytes that wait for hooks now, in the queues of sockets. */
  waitingBytes: number
  /** I/O threads. */
  threads: number
  /** Milliseconds since the start. */
  uptime: number
  /** TCP connections accepted. */
  accepted: number
  /** Sockets opened: handshakes that succeeded. */
  opened: number
  /** Sockets that have ended. */
  closed: number
  /** Pages and other HTTP answers served. */
  pages: number
  /** Requests refused with a 4xx or 5xx. */
  refused: number
  /** Messages received. */
  messagesIn: number
  /** Bytes received in messages. */
  bytesIn: number
  /** Messages sent, each receiver counted. */
  messagesOut: number
  /** Bytes sent in messages. */
  bytesOut: number
  /** Messages dropped because a send limit was reached. */
  dropped: number
  /** Events for which no hook was there. */
  discarded: number
  /** Sockets closed for a fault of their own: protocol, size, timeout, too slow. */
  faults: number
  /** Of these, sockets closed with 1013: they read nothing for `idleTimeout`, or too little for `dropPolicy: 'close'`. */
  slowClosed: number
  /** The connection to the broker; absent without one. */
  broker?: BrokerStats
}

/** Figures of the connection to the broker. Those without "now" count from the server's start. */
export interface BrokerStats {
  /** `connected`, or `reconnecting` now. */
  state: string
  /** Milliseconds until the broker answered the last ping, behind what was sent before it. It is asked once a second. */
  lag: number
  /** Bytes that wait to be handed to the broker now. */
  waitingBytes: number
  /** Messages handed to the broker. */
  sent: number
  /** Messages of other servers. */
  received: number
  /** Messages that could not be handed over: no connection, over 64 MiB waiting, or larger than the broker takes. */
  dropped: number
  /** Messages that came and were none of ours. */
  malformed: number
  /** How often the connection broke. */
  gaps: number
}

/**
 * Sets this thread's hook, in place of the one before; `null` takes it away.
 *
 * Sockets that came before the first hook wait for it, within bounds. Without the last hook events are discarded and
 * counted; a hook set later gets a Connect for every socket that is open. In a worker a hook keeps its thread alive.
 *
 * @param options `maxPending` bounds what an async hook works on at once.
 * @throws TypeError `ERR_INVALID_HOOK` if it is neither a function nor null.
 * @throws RangeError or TypeError `ERR_INVALID_OPTION`.
 * @example
 * ```ts
 * hook((uuid, eventType, event) => {
 *   if (eventType === EventType.Text) console.log(uuid, event.data.toUpperCase())
 * })
 * ```
 */
export function hook(fn: Hook | null, options?: HookOptions): void
// TypeScript takes no shorter function for a Hook, whose arguments narrow each other.
export function hook(fn: (uuid: string, eventType: EventType) => unknown, options?: HookOptions): void
export function hook(fn: ((...args: never) => unknown) | null, options: HookOptions = {}): void {
  if (typeof fn !== 'function' && fn !== null) {
    throw failure(TypeError, 'ERR_INVALID_HOOK', `hook is ${typeof fn}: it must be a function, or null`)
  }
  setHook(fn as Hook | null, checkMaxPending(options))
}

/**
 * Sends a message to one socket. What is sent in one turn of the event loop leaves together, at its end or within 1 ms.
 *
 * @param kind one of {@link MessageKind:variable}; text may be given as bytes of UTF-8, and binary as a string.
 * @throws TypeError `ERR_INVALID_DATA`, `ERR_INVALID_UUID`, or `ERR_INVALID_UTF8` for bytes sent as text.
 * @throws RangeError `ERR_INVALID_KIND`, or `ERR_MESSAGE_TOO_LONG` for a ping or pong of over 125 bytes.
 * @example
 * ```ts
 * if (send(uuid, MessageKind.Text, 'Howdy...') === SendStatus.Dropped) console.log('a slow reader')
 * ```
 */
export function send(uuid: string, kind: number, data: Data): SendStatus {
  checkUuid(uuid)
  if (!isMessageKind(kind)) return SendStatus.NotAMessage
  const payload = typeof data === 'string' ? data : payloadOf(data)
  const status =
    uuid === current.uuid && uuid !== ''
      ? binding.send(current.slot, current.generation, kind, payload)
      : binding.sendTo(uuid, kind, payload)
  flushSoon()
  return status as SendStatus
}

/**
 * Sends a message to every socket but the origin. It is encoded once, and fanned out on the server's threads.
 *
 * @returns `Ok` also without receivers. A receiver that is behind misses it, is counted in {@link Stats.dropped} and gets a
 * Drain event later. `Dropped` only if more than `backpressureTotal` waits to be sent in all.
 * @throws as {@link send}.
 * @example
 * ```ts
 * sendAll(event.kind, event.data, uuid)
 * ```
 */
export function sendAll(kind: number, data: Data, originUuid?: string | null): SendStatus {
  if (originUuid !== undefined && originUuid !== null) checkUuid(originUuid)
  if (!isMessageKind(kind)) return SendStatus.NotAMessage
  const status = binding.sendAll(kind, payloadOf(data), originUuid)
  flushSoon()
  return status as SendStatus
}

/**
 * Sends a message to each of several sockets, as so many {@link send} would; it is encoded once. For more than a few sockets,
 * and for a group that lasts, topics are simpler: {@link publish}.
 *
 * @param uuids a socket that is named twice gets it twice.
 * @returns the status of each, in the order of `uuids`.
 * @throws as {@link send}; TypeError `ERR_INVALID_UUID` also for what is no array. Nothing was sent then.
 * @example
 * ```ts
 * const statuses = sendMany(uuids, MessageKind.Text, 'hello')
 * const gone = uuids.filter((_, at) => statuses[at] === SendStatus.Unknown)
 * ```
 */
export function sendMany(uuids: readonly string[], kind: number, data: Data): SendStatus[] {
  const text = joinUuids(uuids)
  if (!isMessageKind(kind)) return uuids.map(() => SendStatus.NotAMessage)
  const statuses = new Uint8Array(uuids.length)
  binding.sendMany(text, kind, payloadOf(data), statuses)
  flushSoon()
  return Array.from(statuses) as SendStatus[]
}

/**
 * Closes a socket: what was sent to it before goes out first, then a Close frame. Its Close event follows.
 *
 * @param code 1000-1003, 1007-1014 or 3000-4999. Default 1000.
 * @param reason up to 123 bytes of UTF-8. Default `''`.
 * @returns 0, or 1 for a socket that is closed or never was.
 * @throws RangeError `ERR_INVALID_CLOSE` for another code, or a longer reason.
 * @example
 * ```ts
 * closeRemoveClient(uuid, 4001, 'logged out')
 * ```
 */
export function closeRemoveClient(uuid: string, code = 1000, reason = ''): 0 | 1 {
  checkUuid(uuid)
  checkClose(code, reason)
  return binding.close(uuid, code, reason) as 0 | 1
}

/**
 * Stops reading a socket, for a hook that is behind with it: TCP then slows its client down. Messages that were on their way to
 * the hook already still come: up to 64 KiB or 1,024 of them, and what is left of the batch at hand. What comes later waits, and is
 * lost only if the socket is closed. The socket can be sent to.
 *
 * A paused socket is not idle and gets no pings, so a client that vanishes is noticed by a send that fails, at {@link resume}, or
 * at a close. The pause ends with {@link resume}, when the socket is closed, at the shutdown, and when it changes its hook's thread:
 * the next one gets its Connect and knows nothing of it. Paused twice is paused once.
 *
 * @returns 0, or 1 for a socket that is closed, never was, or is another server's: pausing does not go through a broker.
 * @throws TypeError `ERR_INVALID_UUID`.
 * @example
 * ```ts
 * pause(uuid)
 * setTimeout(() => resume(uuid), 100)
 * ```
 */
export function pause(uuid: string): 0 | 1 {
  checkUuid(uuid)
  return binding.pause(uuid) as 0 | 1
}

/**
 * Reads a socket again that {@link pause} has stopped, whichever thread did; does nothing to another.
 *
 * @returns 0, or 1 for a socket that is closed, never was, or is another server's.
 * @throws TypeError `ERR_INVALID_UUID`.
 * @example
 * ```ts
 * if (resume(uuid) === SendStatus.Unknown) console.log('gone')
 * ```
 */
export function resume(uuid: string): 0 | 1 {
  checkUuid(uuid)
  return binding.resume(uuid) as 0 | 1
}

/**
 * Adds a socket to a topic. A socket leaves its topics when it ends.
 *
 * @param topic 1 to 256 bytes of UTF-8.
 * @returns `Ok`, also if it was in it; `Unknown`; `Dropped` if it is in 256 topics already.
 * @throws RangeError or TypeError `ERR_INVALID_TOPIC`.
 * @example
 * ```ts
 * subscribe(uuid, 'news')
 * publish('news', MessageKind.Text, 'It works', uuid)
 * ```
 */
export function subscribe(uuid: string, topic: string): SendStatus {
  checkUuid(uuid)
  checkTopic(topic)
  const status = binding.subscribe(uuid, topic) as SendStatus
  flushSoon()
  return status
}

/**
 * Takes a socket from a topic.
 *
 * @returns `Ok`, also if it was not in it; `Unknown`.
 * @throws RangeError or TypeError `ERR_INVALID_TOPIC`.
 * @example
 * ```ts
 * unsubscribe(uuid, 'news')
 * ```
 */
export function unsubscribe(uuid: string, topic: string): SendStatus {
  checkUuid(uuid)
  checkTopic(topic)
  const status = binding.unsubscribe(uuid, topic) as SendStatus
  flushSoon()
  return status
}

/**
 * Sends a message to every socket of a topic but the origin, as {@link sendAll} does to all.
 *
 * @param topic or an array of up to 256: a socket in several of them gets it once.
 * @throws as {@link send} and {@link subscribe}.
 * @example
 * ```ts
 * publish('news', MessageKind.Text, 'to all who subscribed')
 * ```
 */
export function publish(
  topic: string | readonly string[],
  kind: number,
  data: Data,
  originUuid?: string | null,
): SendStatus {
  const many = Array.isArray(topic) ? joinTopics(topic) : undefined
  if (many === undefined) checkTopic(topic)
  if (originUuid !== undefined && originUuid !== null) checkUuid(originUuid)
  if (!isMessageKind(kind)) return SendStatus.NotAMessage
  const status =
    many === undefined
      ? binding.publish(topic as string, kind, payloadOf(data), originUuid)
      : binding.publishMany(many, kind, payloadOf(data), originUuid)
  flushSoon()
  return status as SendStatus
}

/**
 * What a socket subscribed to, sorted; empty for one that is closed.
 *
 * @example
 * ```ts
 * topics(uuid) // ['news']
 * ```
 */
export function topics(uuid: string): string[] {
  checkUuid(uuid)
  return binding.topics(uuid)
}

/**
 * The uuids of all sockets that are open.
 *
 * @example
 * ```ts
 * for (const uuid of clients()) send(uuid, MessageKind.Text, 'hello')
 * ```
 */
export function clients(): string[] {
  return binding.clients()
}

/**
 * Whether a socket is open.
 *
 * @example
 * ```ts
 * if (!has(uuid)) console.log('gone')
 * ```
 */
export function has(uuid: string): boolean {
  checkUuid(uuid)
  return binding.has(uuid)
}

/**
 * Bytes that wait to be sent to a socket, with 16 a message for its keep; 0 for one that is closed.
 *
 * @example
 * ```ts
 * if (bufferedAmount(uuid) < 64 * 1024) send(uuid, MessageKind.Binary, frame)
 * ```
 */
export function bufferedAmount(uuid: string): number {
  checkUuid(uuid)
  return binding.bufferedAmount(uuid)
}

/**
 * The server's figures, as a fresh object; all 0 without a server.
 *
 * @example
 * ```ts
 * stats().connections
 * ```
 */
export function stats(): Stats {
  return binding.stats()
}

/** The server of this process. */
export class Server {
  /** The IP address that it listens on; `''` for a Unix socket. */
  readonly address: string
  /** The port, as picked for port 0; 0 for a Unix socket. */
  readonly port: number
  /** The path of the Unix socket that it listens on, if that was asked for. */
  readonly unix: string | undefined

  /** @internal */
  constructor(address: string, port: number, unix?: string) {
    this.address = address
    this.port = port
    this.unix = unix
  }

  /** Where a browser finds it, such as `http://127.0.0.1:8090`; unspecified addresses are given as loopback. `unix:` and the path of a Unix socket. */
  get url(): string {
    if (this.unix !== undefined) return `unix:${this.unix}`
    const host = this.address === '0.0.0.0' ? '127.0.0.1' : this.address === '::' ? '::1' : this.address
    return `http://${host.includes(':') ? `[${host}]` : host}:${this.port}`
  }

  /** As {@link stats}. */
  stats(): Stats {
    return stats()
  }

  /** As {@link shutdownServer}. */
  close(options?: { timeout?: number }): Promise<void> {
    return shutdownServer(options)
  }

  /** The server keeps the calling thread alive, as it does from the start. */
  ref(): this {
    keep('server', binding.running() !== 0)
    return this
  }

  /** The server does not keep the calling thread alive: the process may end with sockets open. */
  unref(): this {
    keep('server', false)
    return this
  }

  /** As {@link shutdownServer}: `await using server = runServer()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await shutdownServer()
  }
}

/**
 * Starts the server of this process and returns once it accepts, in a few milliseconds.
 *
 * There is one server a process. A call with equal settings, from any thread, joins it; with others it throws. The server
 * keeps the calling thread alive until it is shut down, or {@link Server.unref}.
 *
 * @param address default `127.0.0.1`: only this machine.
 * @param port default 8090; 0 picks a free one.
 * @throws Error `EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`, `ERR_INVALID_ADDRESS`, `ERR_TEMPLATE`, `ERR_SERVER_RUNNING`,
 * `ERR_BROKER_UNREACHABLE`.
 * @throws RangeError or TypeError `ERR_INVALID_OPTION`, which names the option, its value and what is allowed.
 * @example
 * ```ts
 * const server = runServer('127.0.0.1', 0, { maxPayload: 64 * 1024 })
 * console.log(server.url)
 * ```
 */
export function runServer(address?: string, port?: number, options?: ServerOptions): Server
export function runServer(options: ServerOptions): Server
export function runServer(addressOrOptions?: string | ServerOptions, port?: number, options?: ServerOptions): Server {
  const given =
    typeof addressOrOptions === 'object' && addressOrOptions !== null
      ? addressOrOptions
      : {
          ...checkOptions(options === undefined ? {} : options),
          ...withoutUndefined({ address: addressOrOptions, port }),
        }
  const settings = checkOptions(given)
  // The primary of a cluster shares sockets of Node.js, and knows nothing of ours: the system has to share the port.
  if (cluster.isWorker && settings.unix === undefined && process.platform !== 'win32') settings.reusePort ??= true
  const fromEnvironment = process.env.POCKETSOCKET_BROKER
  if (settings.broker === undefined && fromEnvironment) settings.broker = fromEnvironment
  const { authorize, ...others } = settings
  attach()
  if (authorize !== undefined) attachAuthorizer()
  const started = binding.runServer({ ...others, authorize: authorize !== undefined })
  if (started.code !== undefined) {
    const type = started.code === 'ERR_INVALID_OPTION' ? RangeError : Error
    throw failure(type, started.code, started.message ?? '')
  }
  if (started.started) {
    // A uuid of an earlier server must not reach a socket of this one.
    current.uuid = ''
    if (authorize !== undefined) setAuthorize(authorize)
  }
  keep('server', true)
  return new Server(started.address, started.port, settings.unix)
}

function withoutUndefined(values: Record<string, unknown>): object {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
}

/**
 * Starts the server as {@link runServer}, and settles when it has shut down: `await` it, and the module stands there as a
 * blocking call would, while hooks, timers and signals go on.
 *
 * @returns rejects with what {@link runServer} throws.
 * @example
 * ```ts
 * await runBlockingServer('127.0.0.1', 8090)
 * ```
 */
export function runBlockingServer(address?: string, port?: number, options?: ServerOptions): Promise<void>
export function runBlockingServer(options: ServerOptions): Promise<void>
export function runBlockingServer(...args: [(string | ServerOptions)?, number?, ServerOptions?]): Promise<void> {
  return new Promise((resolve) => {
    runServer(...(args as [string?, number?, ServerOptions?]))
    whenFinished(resolve)
  })
}

/** How much longer than the server's own timeout its end may take to be told here, ms. */
const GRACE = 250

/**
 * Shuts the server down: it stops accepting, sends every socket a Close with 1001, waits for their answers, and closes.
 *
 * @param options `timeout`: milliseconds until the sockets that are left are cut. Default 5,000.
 * @returns resolves once the last Close event was delivered, or at the timeout; without a server, at once.
 * @throws RangeError or TypeError `ERR_INVALID_OPTION`.
 * @example
 * ```ts
 * process.once('SIGTERM', () => shutdownServer({ timeout: 2000 }))
 * ```
 */
export function shutdownServer(options: { timeout?: number } = {}): Promise<void> {
  const timeout = checkTimeout(options.timeout ?? 5000)
  attach()
  return new Promise((resolve) => {
    if (!binding.shutdownServer(timeout)) {
      resolve()
      return
    }
    // The timer also keeps the thread alive until then.
    const timer = setTimeout(() => {
      forget()
      resolve()
    }, timeout + GRACE)
    const forget = whenFinished(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}

const pocketsocket = {
  EventType,
  MessageKind,
  SendStatus,
  Server,
  hook,
  send,
  sendAll,
  sendMany,
  closeRemoveClient,
  pause,
  resume,
  subscribe,
  unsubscribe,
  publish,
  topics,
  clients,
  has,
  bufferedAmount,
  stats,
  runServer,
  runBlockingServer,
  shutdownServer,
}

export default pocketsocket
