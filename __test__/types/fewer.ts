// A hook may take fewer arguments than it is given, as any callback.

import { EventType, hook } from 'pocketsocket'

hook(() => {})
hook((uuid) => console.log(uuid.length))
hook((uuid, eventType) => {
  if (eventType === EventType.Connect) console.log(uuid)
})
hook(async (uuid) => console.log(uuid.length))
hook((uuid: string) => console.log(uuid))
