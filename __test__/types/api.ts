// Every call, by name and by the namespace, and what it gives.

import pocketsocket, {
  bufferedAmount,
  clients,
  closeRemoveClient,
  type Data,
  has,
  MessageKind,
  pause,
  publish,
  type RateLimit,
  resume,
  runBlockingServer,
  runServer,
  SendStatus,
  Server,
  type ServerOptions,
  type Stats,
  send,
  sendAll,
  sendMany,
  shutdownServer,
  stats,
  subscribe,
  topics,
  unsubscribe,
} from 'pocketsocket'

const uuid: string = clients()[0] ?? ''
const data: Data[] = ['text', Buffer.from('b'), new Uint8Array(1), new DataView(new ArrayBuffer(1)), new ArrayBuffer(1)]
const rateLimit: RateLimit = { messagesPerSecond: 100 }
const options: ServerOptions = { maxPayload: 1024, broadcast: true, allowedOrigins: ['https://example.com'], rateLimit }

for (const each of data) {
  const status: SendStatus = send(uuid, MessageKind.Binary, each)
  if (status === SendStatus.Dropped) console.log(bufferedAmount(uuid).toFixed())
}
const statuses: SendStatus[] = [
  sendAll(1, 'text'),
  sendAll(1, 'text', uuid),
  sendAll(1, 'text', null),
  subscribe(uuid, 'news'),
  publish('news', MessageKind.Text, 'text', uuid),
  publish(['news', 'sport'] as const, MessageKind.Text, 'text'),
  ...sendMany([uuid], MessageKind.Text, 'text'),
  unsubscribe(uuid, 'news'),
]
const closed: 0 | 1 = closeRemoveClient(uuid, 4000, 'bye')
const held: (0 | 1)[] = [pause(uuid), resume(uuid), pocketsocket.pause(uuid), pocketsocket.resume(uuid)]
const open: boolean = has(uuid)
const named: string[] = topics(uuid)
const figures: Stats = stats()
console.log(statuses, closed, held, open, named, figures.connections)

const server: Server = runServer('127.0.0.1', 0, options)
runServer()
runServer({ address: '::1', port: 0, ...options })
const ended: Promise<void> = runBlockingServer('127.0.0.1', 8090)
console.log(server.url.length, server.port.toFixed(), server.address, server.stats().uptime, server instanceof Server)
await server.ref().unref().close({ timeout: 100 })
await shutdownServer({ timeout: 100 })
await ended

// The namespace has all of it.
pocketsocket.closeRemoveClient(uuid)
pocketsocket.send(uuid, pocketsocket.MessageKind.Text, 'text')
const one: pocketsocketServer = pocketsocket.runServer()
type pocketsocketServer = InstanceType<typeof pocketsocket.Server>
console.log(one.url, pocketsocket.EventType.Close satisfies 3, pocketsocket.SendStatus.NotAMessage satisfies 3)
