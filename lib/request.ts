import type { Request } from '../index.js'

/**
 * The addon gives a request as one text, a line each: uuid, url, address, protocol, how many lines the headers take, their names
 * and values in turn; what is left is the application's data, whatever its lines.
 */
export function requestOf(text: string): Request {
  const lines = text.split('\n')
  const end = 5 + Number(lines[4])
  // Without a prototype: a header's name may be anything.
  const headers: Record<string, string> = Object.create(null)
  for (let at = 5; at < end; at += 2) {
    const name = lines[at] as string
    const value = lines[at + 1] as string
    const before = headers[name]
    // As in node:http: cookies are joined by a semicolon, what else is repeated by a comma.
    headers[name] = before === undefined ? value : `${before}${name === 'cookie' ? '; ' : ', '}${value}`
  }
  const data = lines.length > end + 1 ? lines.slice(end).join('\n') : (lines[end] as string)
  return {
    url: lines[1] as string,
    headers,
    remoteAddress: lines[2] as string,
    protocol: lines[3] as string,
    data,
  }
}
