// Handshakes that the application decides about: the addon's questions in, one verdict each out.

import type { Authorize, Verdict } from '../index.js'
import { binding } from './binding.js'
import { failure, shown } from './checks.js'
import { requestOf } from './request.js'
import { surface } from './surface.js'

/** What the server takes of an application's answer, bytes. */
const MAX_DATA = 4096
const MAX_BODY = 64 * 1024
const MAX_HEADERS = 16 * 1024

/** How the message is framed, and what becomes of the connection, is the server's business. */
const RESERVED = new Set(['connection', 'content-length', 'keep-alive', 'transfer-encoding', 'upgrade'])
/** RFC 9110 sections 5.6.2 and 5.5. */
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const VALUE = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/

/** Never asked before {@link setAuthorize}. */
let authorize: Authorize = () => false

/** Gives this thread its door-bell for questions. */
export function attachAuthorizer(): void {
  binding.attachAuthorizer(answerSome)
}

/** This thread has started a server: it answers. */
export function setAuthorize(fn: Authorize): void {
  authorize = fn
}

function answerSome(): void {
  const questions = binding.takeQuestions()
  if (questions.length === 0) return
  for (const { id, text } of questions) {
    try {
      answer(id, text)
    } catch (error) {
      // Never an open socket for an answer that went wrong.
      binding.fail(id)
      surface(error)
    }
  }
  // Not at once: timers and the application's own I/O come first. Not unref'ed either: the loop would sleep with it undone, and
  // the addon rings again only after an empty answer.
  setImmediate(answerSome)
}

function answer(id: number, text: string): void {
  const { url, headers, remoteAddress } = requestOf(text)
  const offered = headers['sec-websocket-protocol']
  const protocols = offered === undefined ? [] : offered.split(',').map((protocol) => protocol.trim())
  const result: unknown = authorize({ url, headers, remoteAddress, protocols })
  if (typeof result === 'object' && result !== null && 'then' in result && typeof result.then === 'function') {
    void Promise.resolve(result as PromiseLike<unknown>).then(
      (verdict) => settle(id, verdict, protocols),
      (error) => {
        binding.fail(id)
        // Stays a rejection that nobody handled.
        throw error
      },
    )
    return
  }
  settle(id, result, protocols)
}

/** Tells the addon; an answer that makes no sense is told as a failure, and thrown. */
function settle(id: number, verdict: unknown, protocols: string[]): void {
  try {
    tell(id, verdict, protocols)
  } catch (error) {
    binding.fail(id)
    throw error
  }
}

function tell(id: number, verdict: unknown, protocols: string[]): void {
  if (verdict === true) {
    binding.accept(id, undefined, '')
  } else if (verdict === false) {
    binding.refuse(id, 403, [], Buffer.from('this request is not authorized\n'))
  } else if (typeof verdict !== 'object' || verdict === null) {
    throw bad(TypeError, `authorize gave ${shown(verdict)}: it must give true, false or an object`)
  } else if ('status' in verdict) {
    checkKeys(verdict, ['status', 'headers', 'body'])
    refuse(id, verdict as Refusal)
  } else {
    checkKeys(verdict, ['protocol', 'data'])
    open(id, verdict, protocols)
  }
}

function checkKeys(verdict: object, known: string[]): void {
  const keys = Object.keys(verdict)
  const unknown = keys.find((key) => !known.includes(key))
  if (unknown === undefined && keys.length > 0) return
  const given = unknown === undefined ? 'an empty object' : `an object with '${unknown}'`
  throw bad(TypeError, `authorize gave ${given}: known are status, headers and body, or protocol and data`)
}

function open(id: number, verdict: { protocol?: unknown; data?: unknown }, protocols: string[]): void {
  const { protocol, data = '' } = verdict
  if (protocol !== undefined && protocol !== '' && !protocols.includes(protocol as string)) {
    throw bad(
      RangeError,
      `authorize gave protocol ${shown(protocol)}: the client offers ${shown(protocols.join(', '))}`,
    )
  }
  if (typeof data !== 'string') throw bad(TypeError, `authorize gave data ${shown(data)}: it must be a string`)
  const bytes = Buffer.byteLength(data)
  if (bytes > MAX_DATA) throw bad(RangeError, `authorize gave data of ${bytes} bytes: allowed are ${MAX_DATA}`)
  binding.accept(id, protocol as string | undefined, data)
}

type Refusal = Extract<Verdict, { status: number }>

function refuse(id: number, { status, headers = {}, body = '' }: Refusal): void {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw bad(RangeError, `authorize gave status ${shown(status)}: allowed are 200 to 599`)
  }
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers)) {
    throw bad(TypeError, `authorize gave headers ${shown(headers)}: they must be an object`)
  }
  const lines: string[] = []
  for (const [name, given] of Object.entries(headers)) {
    if (!NAME.test(name) || RESERVED.has(name.toLowerCase())) {
      throw bad(TypeError, `authorize gave a header ${shown(name)}: that is no name, or one for the server alone`)
    }
    for (const value of Array.isArray(given) ? given : [given]) {
      if (typeof value !== 'string' || !VALUE.test(value)) {
        throw bad(TypeError, `authorize gave header ${name} a value that is none`)
      }
      lines.push(name, value)
    }
  }
  if (lines.join('').length > MAX_HEADERS) throw bad(RangeError, `authorize gave headers of over ${MAX_HEADERS} bytes`)
  if (typeof body !== 'string' && !(body instanceof Uint8Array)) {
    throw bad(TypeError, `authorize gave body ${shown(body)}: it must be a string or a Uint8Array`)
  }
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  if (bytes.length > MAX_BODY)
    throw bad(RangeError, `authorize gave a body of ${bytes.length} bytes: allowed are ${MAX_BODY}`)
  binding.refuse(id, status, lines, bytes)
}

function bad(type: typeof TypeError | typeof RangeError, message: string): Error {
  return failure(type, 'ERR_INVALID_VERDICT', message)
}
