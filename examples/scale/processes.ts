// The chat in three processes behind one port: in a process of Node's cluster the port is shared by itself. Each process has
// its own sockets; a broker (POCKETSOCKET_BROKER=redis://… or nats://…) makes one chat of them.
//
// Run: node examples/scale/processes.ts (Node.js >= 22.18; PORT=9000 for another port)

import cluster from 'node:cluster'

if (cluster.isPrimary) {
  // A port that is free or the one given: all three need the same.
  const port = Number(process.env.PORT ?? 8090)
  let listening = 0
  const add = (port: number) =>
    cluster.fork({ PORT: String(port) }).on('message', (taken: number) => {
      if (++listening < 3) add(taken)
      else console.log(`Serving on http://127.0.0.1:${taken}`)
    })
  add(port)
} else {
  const { runServer } = await import('pocketsocket')
  await import('./chat.ts')
  process.send?.(runServer('127.0.0.1', Number(process.env.PORT)).port)
}
