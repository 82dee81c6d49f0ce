import type { Request } from '../index.js'

/** Where node:util's `inspect` looks for what to show. */
const inspect = Symbol.for('nodejs.util.inspect.custom')

/**
 * A request, which the addon gives as one text, a line each: uuid, url, address, protocol, the length of the application's data;
 * then that data, whatever its lines; then names and values of the headers in turn, each behind a line end.
 *
 * Headers are made when they are asked for, as in node:http: most hooks never look at them.
 */
class LazyRequest implements Request {
  readonly url: string
  readonly remoteAddress: string
  readonly protocol: string
  readonly data: string
  #lines: string
  #headers: Record<string, string> | undefined

  constructor(text: string) {
    let start = text.indexOf('\n') + 1
    const next = () => {
      const end = text.indexOf('\n', start)
      const line = text.slice(start, end)
      start = end + 1
      return line
    }
    this.url = next()
    this.remoteAddress = next()
    this.protocol = next()
    const length = Number(next())
    this.data = text.slice(start, start + length)
    this.#lines = text.slice(start + length)
  }

  get headers(): Readonly<Record<string, string>> {
    if (this.#headers === undefined) {
      this.#headers = headersOf(this.#lines)
      this.#lines = ''
    }
    return this.#headers
  }

  toJSON(): Request {
    return { ...this, headers: this.headers }
  }

  [inspect](): Request {
    return this.toJSON()
  }
}

function headersOf(text: string): Record<string, string> {
  // Without a prototype: a header's name may be anything.
  const headers: Record<string, string> = Object.create(null)
  const lines = text.split('\n')
  for (let at = 1; at + 1 < lines.length; at += 2) {
    const name = lines[at] as string
    const value = lines[at + 1] as string
    const before = headers[name]
    // As in node:http: cookies are joined by a semicolon, what else is repeated by a comma.
    headers[name] = before === undefined ? value : `${before}${name === 'cookie' ? '; ' : ', '}${value}`
  }
  return headers
}

export function requestOf(text: string): Request {
  return new LazyRequest(text)
}
