// Hook: the whole API in one function. Send "close" to be closed, "shutdown" to stop the server, anything else for all.
//
// Run: node examples/hook.ts (Node.js >= 22.18; PORT=9000 for another port), and open http://127.0.0.1:8090 twice.

import pocketsocket, { EventType, type Hook, MessageKind } from 'pocketsocket'

const port = Number(process.env.PORT ?? 8090)

const myHook: Hook = (uuid, eventType, event) => {
  switch (eventType) {
    case EventType.Connect:
      pocketsocket.send(uuid, MessageKind.Text, `You are ${uuid}, at ${event.request.url}`)
      break
    case EventType.Close:
      pocketsocket.sendAll(MessageKind.Text, `${uuid} has left: ${event.code} ${event.reason}`)
      break
    case EventType.Error:
      console.error(event.error)
      break
    default:
      if (event.data === 'close') pocketsocket.closeRemoveClient(uuid, 1000, 'as you wish')
      else if (event.data === 'shutdown') pocketsocket.shutdownServer()
      else pocketsocket.sendAll(event.kind, event.data, uuid)
  }
  return 0
}

pocketsocket.hook(myHook)

// It blocks here until "shutdown" came, and every socket is closed.
await pocketsocket.runBlockingServer('127.0.0.1', port)
console.log('Shut down')
