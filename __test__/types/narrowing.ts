// Checking what an event is narrows what it has, however it is checked.

import pocketsocket, { type Event, EventType, type Hook, hook, type Request } from 'pocketsocket'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
/** Compiles if the value has exactly the type `Expected`. */
function is<Expected>() {
  return <T>(_value: T, ..._differs: Same<T, Expected> extends true ? [] : [never]): void => {}
}

hook((uuid, eventType, event) => {
  is<string>()(uuid)
  is<EventType>()(eventType)
  is<Event>()(event)
  is<string | Buffer>()(event.data)
  if (eventType === EventType.Text) is<string>()(event.data)
  if (eventType === EventType.Binary) is<Buffer>()(event.data)
  if (eventType === EventType.Connect) {
    is<Request>()(event.request)
    is<string | undefined>()(event.request.headers.cookie)
    is<boolean>()(event.resumed)
  }
  if (eventType === EventType.Close) {
    is<number>()(event.code)
    is<string>()(event.reason)
    is<boolean>()(event.wasClean)
  }
  if (eventType === EventType.Error) is<string>()(event.error.code)
  if (eventType === EventType.Drain) is<''>()(event.data)
})

// By numbers, as in the seed document.
hook((_uuid, eventType, event) => {
  if (eventType === 0) {
    is<''>()(event.data)
    return is<string>()(event.request.url)
  }
  if (eventType === 1) return is<string>()(event.data)
  if (eventType === 2) return is<Buffer>()(event.data)
  if (eventType === 3) return is<number>()(event.code)
})

// By the event alone, which may have been kept for later.
function later(event: Event) {
  if (event.kind === EventType.Text) is<string>()(event.data)
  else if (event.kind === EventType.Binary) is<Buffer>()(event.data)
  else is<''>()(event.data)
}
hook((_uuid, _eventType, event) => later(event))

// By a switch, which covers all.
hook((_uuid, eventType, event) => {
  switch (eventType) {
    case EventType.Connect:
      return is<Request>()(event.request)
    case EventType.Text:
      return is<string>()(event.data)
    case EventType.Binary:
      return is<Buffer>()(event.data)
    case EventType.Close:
      return is<number>()(event.code)
    case EventType.Error:
      return is<Error & { readonly code: string }>()(event.error)
    case EventType.Drain:
      return is<''>()(event.data)
    default:
      is<never>()(eventType)
      return is<never>()(event)
  }
})

// A hook of its own, with and without the library's type.
const typed: Hook = (uuid, eventType, event) => {
  if (eventType === EventType.Text) pocketsocket.send(uuid, 1, event.data.toUpperCase())
}
function written(uuid: string, eventType: EventType, event: Event): number {
  return pocketsocket.send(uuid, eventType, event)
}
hook(typed)
hook(written)
hook(async (uuid, eventType, event) => {
  await null
  if (eventType === EventType.Text) pocketsocket.send(uuid, eventType, event)
})
hook(null)
