// One of the server processes of sockets.mjs.
import { hook, runServer, sendAll, stats } from '../../index.js'

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
  if (order.sendAll) process.send({ status: sendAll(1, order.sendAll) })
  if (order.stats)
    process.send({ connections: stats().connections, rss: process.memoryUsage.rss(), cpu: process.cpuUsage() })
})
process.send({ port: server.port })
