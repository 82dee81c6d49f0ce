// CommonJS, as TypeScript compiles it: each way to write an import gives the same server. This one is also run.

import whole = require('pocketsocket')

import namespace, { EventType, hook } from 'pocketsocket'

hook((_uuid, eventType, event) => {
  if (eventType === EventType.Text) console.log(event.data.toUpperCase())
})
const server = namespace.runServer('127.0.0.1', 0)
const same = whole.runServer('127.0.0.1', 0)
if (server.port !== same.port || whole.default !== namespace || whole.hook !== hook) throw new Error('two copies')
console.log(server.url)
server.close()
