// From the addon to the hook: groups of events in, one call of the hook an event.
//
// The addon's door-bell calls `pump`, which lets the addon call `dispatch` with up to sixteen texts at a time. The rest of
// an event is in `meta`, four numbers each: slot, generation, kind and flag, length or close code.

import { isMainThread } from 'node:worker_threads'
import type { Hook } from '../index.js'
import { binding } from './binding.js'
import { failure } from './checks.js'
import { requestOf } from './request.js'
import { surface } from './surface.js'

const CONNECT = 0
const TEXT = 1
const BINARY = 2
const CLOSE = 3
const ERROR = 4
/** Records of the addon itself, after the event types: this thread's last event was given, and then every thread's. */
const STOPPED = 6

const GROUP = 16
const FIELDS = 4
/** `meta[0]`: the event that was begun, which tells the addon where a thread ended in the middle. */
const meta = new Uint32Array(1 + FIELDS * GROUP)

/** uuids by slot of those of this thread's sockets that have sent something; else an empty string. */
const uuids: string[] = []

/** Untyped inside: what is passed is built as the types say. */
type AnyHook = (uuid: string, eventType: number, event: object) => unknown

let hook: AnyHook | null = null
/** The promises of a hook that wants to be counted: each hook has a count of its own. */
interface Pending {
  readonly max: number
  count: number
}
let pending: Pending | null = null
/** `drain` has stopped because of `pending`: whoever makes room calls `pump`. */
let waiting = false
let attached = false
/** Inside of `drain`: what is sent leaves with the batch. */
let dispatching = false
let flushing = false
/** The hook took itself away in the middle of a group: what it had not begun went to others, also if it came back. */
let handedOver = false
/** What waits for the end of a server, with that server's number; 0 if it had stopped before this thread heard of it. */
const onFinished = new Map<() => void, number>()
/** What keeps the thread alive: a server that it started, a shutdown that it awaits. */
const keepers = new Set<string>()

/** The socket whose event was given last: sending to it needs no look-up. */
export const current = { uuid: '', slot: 0, generation: 0 }

/** Connects this thread to the server, before the first call that needs events. */
export function attach(): void {
  if (attached) return
  const problem = binding.attach(pump, dispatch, meta, isMainThread)
  if (problem !== null) throw failure(Error, 'ERR_TOO_MANY_THREADS', problem)
  attached = true
  // Node-API's own hooks run only if the event loop ends by itself, not at `process.exit` or an uncaught exception.
  if (isMainThread) process.once('exit', () => binding.endProcess())
}

export function setHook(next: Hook | null, maxPending?: number): void {
  attach()
  pending = maxPending === undefined ? null : { max: maxPending, count: 0 }
  resume()
  hook = next as AnyHook | null
  if (hook === null) handedOver = true
  binding.setHooked(next !== null)
  // On the main thread a hook without a server has nothing to wait for; a worker's is what the worker is for.
  keep('hook', next !== null && !isMainThread)
}

/** Keeps the thread alive for a reason, or no longer. */
export function keep(reason: string, wanted: boolean): void {
  if (wanted) keepers.add(reason)
  else keepers.delete(reason)
  binding.keepAlive(keepers.size > 0)
}

/** Calls back once, when the server has stopped and every thread was given its last event. */
export function whenFinished(callback: () => void): () => void {
  onFinished.set(callback, binding.running())
  return () => onFinished.delete(callback)
}

/** What was sent outside of a hook leaves once the running code has ended: one flush for all of it. */
export function flushSoon(): void {
  if (dispatching || flushing) return
  flushing = true
  queueMicrotask(() => {
    flushing = false
    binding.flush()
  })
}

function pump(): void {
  // A turn that is under way goes on by itself.
  if (dispatching) return
  dispatching = true
  let more: 0 | 1
  try {
    more = binding.drain()
  } finally {
    dispatching = false
  }
  if (more === 1) pumpSoon()
}

/**
 * Not at once: timers and the application's own I/O come first. Never unref'ed: the loop would sleep with it undone, and the
 * door-bell rings again only once all was taken.
 */
function pumpSoon(): void {
  setImmediate(pump)
}

/** Goes on after a stop for `maxPending`. */
function resume(): void {
  if (!waiting) return
  waiting = false
  pumpSoon()
}

/** Counts what a hook returned until it settles. A rejection stays one that nobody handled. */
function countIn(mine: Pending, result: unknown): void {
  if (typeof result !== 'object' || result === null || typeof (result as PromiseLike<unknown>).then !== 'function')
    return
  mine.count++
  void Promise.resolve(result).finally(() => {
    mine.count--
    if (mine === pending) resume()
  })
}

/**
 * Gives a group of events to the hook; true if it takes no more for now. Nothing that a hook throws leaves this function.
 */
function dispatch(count: number, ...texts: string[]): true | undefined {
  handedOver = false
  for (let at = 0; at < count; at++) {
    if (handedOver) return undefined
    const field = 1 + at * FIELDS
    const slot = meta[field] as number
    const kindAndFlag = meta[field + 2] as number
    const type = kindAndFlag & 0xff
    if (type >= STOPPED) {
      meta[0] = at
      if (type > STOPPED) finish()
      continue
    }
    if (hook === null) return undefined
    if (pending !== null && pending.count >= pending.max) {
      waiting = true
      return true
    }
    meta[0] = at
    let uuid = ''
    let event: object
    switch (type) {
      case TEXT:
        uuid = uuidOf(slot, at)
        event = { kind: TEXT, data: texts[at] }
        break
      case BINARY: {
        uuid = uuidOf(slot, at)
        const data = Buffer.allocUnsafe(meta[field + 3] as number)
        binding.take(at, data)
        event = { kind: BINARY, data }
        break
      }
      case CONNECT: {
        uuid = binding.uuid(at)
        uuids[slot] = ''
        event = { kind: CONNECT, data: '', request: requestOf(texts[at] as string), resumed: kindAndFlag >>> 8 === 1 }
        break
      }
      case CLOSE:
        uuid = uuids[slot] || binding.uuid(at)
        uuids[slot] = ''
        event = { kind: CLOSE, data: '', code: meta[field + 3], reason: texts[at], wasClean: kindAndFlag >>> 8 === 1 }
        break
      case ERROR:
        event = { kind: ERROR, data: '', error: errorOf(texts[at] as string) }
        break
      default:
        uuid = uuidOf(slot, at)
        event = { kind: type, data: '' }
    }
    current.uuid = uuid
    current.slot = slot
    current.generation = meta[field + 1] as number
    try {
      const mine = pending
      const result = hook(uuid, type, event)
      if (mine !== null) countIn(mine, result)
    } catch (error) {
      surface(error)
    }
  }
  return undefined
}

/** Kept from a socket's first message on: many sockets only listen, and would carry a string each. */
function uuidOf(slot: number, at: number): string {
  let uuid = uuids[slot] as string
  if (uuid === '') {
    uuid = binding.uuid(at)
    uuids[slot] = uuid
  }
  return uuid
}

function errorOf(text: string): Error {
  const end = text.indexOf('\n')
  return failure(Error, text.slice(0, end), text.slice(end + 1))
}

function finish(): void {
  current.uuid = ''
  // Another server may run already, if a thread was so busy that it heard late of the end of the one before.
  const running = binding.running()
  if (running === 0) {
    keepers.delete('server')
    keepers.delete('hook')
  }
  for (const [callback, server] of [...onFinished]) {
    if (running !== 0 && server === running) continue
    onFinished.delete(callback)
    callback()
  }
  binding.keepAlive(keepers.size > 0)
}
