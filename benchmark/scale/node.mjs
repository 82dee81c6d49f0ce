// One of the server processes of sockets.mjs.
import { hook, runServer, sendAll, stats } from '../../index.js'
import { now } from './support.mjs'

hook(null)
const broker = process.env.POCKETSOCKET_BROKER
const server = runServer('127.0.0.1', Number(process.env.PORT), {
  reusePort: true,
  // They only wait: nothing should ping them while 100,000 open.
  idleTimeout: 0,
  pingInterval: 0,
  ...(broker ? { broker } : {}),
})
process.on('message', (order) => {
  if (order.sendAll) {
    const at = now()
    process.send({ status: sendAll(1, order.sendAll), at })
  }
  if (order.stats) {
    const { connections, broker } = stats()
    process.send({ connections, broker, rss: process.memoryUsage.rss() })
  }
})
// The script has died.
process.once('disconnect', () => process.exit(1))
process.send({ port: server.port })
