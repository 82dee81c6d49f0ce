// What is wrong does not compile. Each line below a mark is one error.

import pocketsocket, { type Event, EventType, hook, runServer, send } from 'pocketsocket'

hook((uuid, eventType, event) => {
  // @ts-expect-error: it may be bytes
  event.data.toUpperCase()
  // @ts-expect-error: only a Close has a code
  console.log(event.code)
  if (eventType === EventType.Text) {
    // @ts-expect-error: text is no Buffer
    event.data.readUInt8(0)
  }
  if (eventType === EventType.Binary) {
    // @ts-expect-error: a Buffer is no text
    event.data.charCodeAt(0)
  }
  // @ts-expect-error: there is no such event
  if (eventType === 9) return
  if (eventType === EventType.Connect) {
    // @ts-expect-error: a request cannot be changed
    event.request.url = '/'
  }
  // @ts-expect-error: a number is no data
  send(uuid, 1, 42)
  // @ts-expect-error: an object is no data, unless it is an event
  send(uuid, 1, { hello: 'world' })
  // @ts-expect-error: data is missing
  send(uuid, 1)
})
// @ts-expect-error: a name is no kind
send('', 'Text', 'text')
// @ts-expect-error: a hook is a function, or null
hook('ingress')
// @ts-expect-error: a hook must be given
hook()
// @ts-expect-error: a uuid is a string
hook((uuid: number, _eventType: EventType, _event: Event) => uuid)
// @ts-expect-error: a port is a number
runServer('127.0.0.1', '8090')
// @ts-expect-error: no such option
runServer({ maxPaylod: 1024 })
// @ts-expect-error: an option of another type
runServer({ broadcast: 'yes' })
// @ts-expect-error: a limit says how many messages a second
runServer({ rateLimit: { burst: 5 } })
// @ts-expect-error: event types cannot be changed
pocketsocket.EventType.Text = 2
// @ts-expect-error: a call has its name in camelCase
pocketsocket.run_server()
