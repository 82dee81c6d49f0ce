// A client on bare TCP, for what a real one would never do: half a handshake, wrong frames, no answer to a Close.

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { within } from './wait.js'

export class RawClient {
  readonly socket: Socket
  #bytes = Buffer.alloc(0)

  private constructor(socket: Socket) {
    this.socket = socket
    // A connection that the server resets is no fault of the test.
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk])
    })
  }

  /** Connects and upgrades. */
  static async upgrade(port: number, host = '127.0.0.1'): Promise<RawClient> {
    const client = await RawClient.connect(port, host)
    client.socket.write(
      `GET / HTTP/1.1\r\nHost: ${host}:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    )
    const head = await client.#upTo('\r\n\r\n')
    if (!head.startsWith('HTTP/1.1 101 ')) throw new Error(`no upgrade: ${head}`)
    return client
  }

  /** Connects, and says nothing. */
  static async connect(port: number, host = '127.0.0.1'): Promise<RawClient> {
    const socket = connect(port, host)
    await within(once(socket, 'connect'), `a connection to ${host}:${port}`)
    return new RawClient(socket)
  }

  async #upTo(end: string): Promise<string> {
    for (;;) {
      const at = this.#bytes.indexOf(end)
      if (at >= 0) {
        const text = this.#bytes.subarray(0, at + end.length).toString('latin1')
        this.#bytes = this.#bytes.subarray(at + end.length)
        return text
      }
      await within(once(this.socket, 'data'), `'${end}'`)
    }
  }

  /** Sends one frame with FIN, masked with zeros: the payload stands there as it is. */
  frame(opcode: number, payload: Uint8Array): void {
    if (payload.length > 125) throw new Error('this client knows short frames only')
    this.socket.write(Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0]), payload]))
  }

  bytes(...bytes: number[]): void {
    this.socket.write(Buffer.from(bytes))
  }

  /** The next frame that the server sent, if it is a short one. */
  async serverFrame(): Promise<{ opcode: number; payload: Buffer }> {
    for (;;) {
      const length = (this.#bytes[1] ?? 0) & 0x7f
      if (this.#bytes.length >= 2 && this.#bytes.length >= 2 + length) {
        const opcode = (this.#bytes[0] as number) & 0x0f
        const payload = this.#bytes.subarray(2, 2 + length)
        this.#bytes = this.#bytes.subarray(2 + length)
        return { opcode, payload }
      }
      await within(once(this.socket, 'data'), 'a frame')
    }
  }

  destroy(): void {
    this.socket.destroy()
  }
}
