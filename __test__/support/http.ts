// A handshake by node:http, whose answer is looked at whatever it is.

import { type IncomingHttpHeaders, request } from 'node:http'
import type { Socket } from 'node:net'
import { within } from './wait.js'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
  /** The connection, after 101. */
  readonly socket?: Socket
}

/** Asks for an upgrade; gives the answer. */
export function handshake(url: string, headers: Record<string, string> = {}): Promise<Answer> {
  const asked = new Promise<Answer>((resolve, reject) => {
    const sent = request(url, {
      headers: {
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
        ...headers,
      },
    })
    sent.on('error', reject)
    sent.on('upgrade', ({ statusCode = 0, headers }, socket) => {
      resolve({ status: statusCode, headers, body: '', socket: socket as Socket })
    })
    sent.on('response', (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (text) => {
        body += text
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }))
    })
    sent.end()
  })
  return within(asked, `an answer of ${url}`)
}
