// A chat that keeps nothing but what the Connect of each socket tells: the path is the room, which is a topic. So it runs
// unchanged on one thread, on many, in many processes, and on many machines: see the other files of this folder, and
// docs/scaling.md.

import pocketsocket, { EventType, MessageKind } from 'pocketsocket'

/** Who a socket is can be told from its Connect alone, which is given again to a hook that takes the socket over. */
const people = new Map<string, { name: string; room: string }>()

function say(room: string, text: string) {
  pocketsocket.publish(room, MessageKind.Text, text)
}

pocketsocket.hook((uuid, eventType, event) => {
  if (eventType === EventType.Connect) {
    // Such as /kitchen?name=Ada. What a stranger sends is cut to a length.
    const [path = '/', query] = event.request.url.split('?')
    const room = path.slice(0, 64)
    const name = new URLSearchParams(query).get('name')?.slice(0, 24) || 'Someone'
    people.set(uuid, { name, room })
    // One that only changed its thread is in its room already.
    if (event.resumed) return
    pocketsocket.subscribe(uuid, room)
    say(room, `${name} came in`)
    return
  }
  const person = people.get(uuid)
  if (person === undefined) return
  if (eventType === EventType.Text) say(person.room, `${person.name}: ${event.data.slice(0, 1000)}`)
  if (eventType === EventType.Close) {
    people.delete(uuid)
    say(person.room, `${person.name} left`)
  }
})
