// A client of the tests: npm's ws, which shares no code with the server.

import { type ClientOptions, WebSocket } from 'ws'
import { Queue, within } from './wait.js'

export interface Received {
  readonly data: Buffer
  readonly binary: boolean
}

export class Client {
  readonly socket: WebSocket
  /** How it ended, as the client sees it. */
  readonly closed: Promise<{ code: number; reason: string }>
  readonly #received = new Queue<Received>()

  private constructor(socket: WebSocket) {
    this.socket = socket
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
    socket.on('message', (data, binary) => this.#received.push({ data: data as Buffer, binary }))
  }

  /** Connects to the page's address, `http://...`. */
  static async connect(url: string, options: ClientOptions = {}, protocols: string[] = []): Promise<Client> {
    const socket = new WebSocket(url.replace('http', 'ws'), protocols, { perMessageDeflate: false, ...options })
    // Made before the first await: a message that comes with the handshake must not be missed.
    const client = new Client(socket)
    const opened = new Promise<void>((resolve, reject) => {
      socket.once('open', resolve)
      socket.on('error', reject)
    })
    await within(opened, `the handshake with ${url}`)
    return client
  }

  send(data: string | Uint8Array): void {
    this.socket.send(data)
  }

  receive(ms?: number): Promise<Received> {
    return this.#received.next('a message', ms)
  }

  /** The next message, which has to be text. */
  async text(ms?: number): Promise<string> {
    const { data, binary } = await this.receive(ms)
    if (binary) throw new Error('a binary message came instead of text')
    return data.toString()
  }

  async texts(count: number): Promise<string[]> {
    const texts = []
    for (let n = 0; n < count; n++) texts.push(await this.text())
    return texts
  }

  /** Messages that came and were not asked for. */
  get left(): number {
    return this.#received.left
  }

  /** Takes nothing from the connection any more: the system's buffers fill up, then the server's. */
  stopReading(): void {
    this.socket.pause()
  }

  resumeReading(): void {
    this.socket.resume()
  }

  async close(code?: number, reason?: string): Promise<{ code: number; reason: string }> {
    this.socket.close(code, reason)
    return within(this.closed, 'the end of the closing handshake')
  }

  /** Cuts the connection. */
  terminate(): void {
    this.socket.terminate()
  }
}
