// pocketsocket with a JavaScript hook.
import pocketsocket, { EventType, MessageKind, runServer, send, sendAll } from '../../index.js'
import { BACKPRESSURE, BLOCK_LENGTH, BROADCAST, blocked, listening, MAX_PAYLOAD, PORT } from './support.mjs'

pocketsocket.hook((uuid, eventType, event) => {
  if (eventType === EventType.Text && event.data.length === BLOCK_LENGTH && blocked(event.data)) {
    send(uuid, MessageKind.Text, 'done')
  } else if (BROADCAST) {
    sendAll(eventType, event, uuid)
  } else {
    send(uuid, eventType, event)
  }
})

const server = runServer('127.0.0.1', PORT, {
  maxPayload: MAX_PAYLOAD,
  backpressureLimit: BACKPRESSURE,
  idleTimeout: 0,
})
listening(server.port)
