// Chat: people with names, in rooms. The path of the page is the room, which is a topic of the server.
//
// Run: node examples/chat/chat.ts (Node.js >= 22.18; PORT=9000 for another port), and open http://127.0.0.1:8090/kitchen
// twice.

import { join } from 'node:path'
import pocketsocket, { EventType, MessageKind } from 'pocketsocket'

const port = Number(process.env.PORT ?? 8090)
const people = new Map<string, { name: string; room: string }>()

/** To everyone in the room, its sender included: all see the same order. */
function say(room: string, name: string, text: string) {
  const here = [...people.values()].filter((person) => person.room === room).map((person) => person.name)
  pocketsocket.publish(room, MessageKind.Text, JSON.stringify({ name, text, here }))
}

pocketsocket.hook((uuid, eventType, event) => {
  if (eventType === EventType.Connect) {
    // Such as /kitchen?name=Ada. What a stranger sends is cut to a length.
    const [path = '/', query] = event.request.url.split('?')
    const room = path.slice(0, 64)
    const name = new URLSearchParams(query).get('name')?.slice(0, 24) || 'Someone'
    people.set(uuid, { name, room })
    pocketsocket.subscribe(uuid, room)
    say(room, name, 'came in')
    return
  }
  const person = people.get(uuid)
  if (person === undefined) return
  if (eventType === EventType.Text) say(person.room, person.name, `says: ${event.data.slice(0, 1000)}`)
  if (eventType === EventType.Close) {
    people.delete(uuid)
    say(person.room, person.name, 'left')
  }
})

const server = pocketsocket.runServer('127.0.0.1', port, {
  template: join(import.meta.dirname, 'templates/index.html'),
  maxPayload: 8 * 1024,
})
console.log(`Serving on ${server.url}`)
