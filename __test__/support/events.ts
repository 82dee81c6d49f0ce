// A hook that keeps what it is given, for tests that wait for it.

import { type Event, EventType, type Hook } from 'pocketsocket'
import { within } from './wait.js'

export interface Told {
  readonly uuid: string
  readonly type: EventType
  readonly event: Event
}

type Of<T extends EventType> = Extract<Event, { kind: T }>

export class Events {
  readonly all: Told[] = []
  readonly #watchers = new Set<() => void>()

  /** To be given to `hook`. `also` runs for each event, after it was noted. */
  readonly hook: Hook

  constructor(also?: Hook) {
    this.hook = (...args) => {
      const [uuid, type, event] = args
      this.all.push({ uuid, type, event })
      for (const watch of this.#watchers) watch()
      return also?.(...args)
    }
  }

  /** Events of one type, of one socket or of all. */
  of<T extends EventType>(type: T, uuid?: string): Of<T>[] {
    return this.all
      .filter((told) => told.type === type && (uuid === undefined || told.uuid === uuid))
      .map((told) => told.event as Of<T>)
  }

  /** uuids in the order of their first Connect. */
  get uuids(): string[] {
    return [...new Set(this.all.filter(({ type }) => type === EventType.Connect).map(({ uuid }) => uuid))]
  }

  /** Resolves once the condition holds; it is looked at after each event. */
  until(holds: () => boolean, what: string, ms?: number): Promise<void> {
    if (holds()) return Promise.resolve()
    let watch = () => {}
    const held = new Promise<void>((resolve) => {
      watch = () => {
        if (holds()) resolve()
      }
      this.#watchers.add(watch)
    })
    return within(held, what, ms).finally(() => this.#watchers.delete(watch))
  }

  /** The first `count` events of a type. */
  async some<T extends EventType>(type: T, count: number, uuid?: string): Promise<Of<T>[]> {
    await this.until(() => this.of(type, uuid).length >= count, `${count} events of type ${type}`)
    return this.of(type, uuid).slice(0, count)
  }

  /** The first event of a type. */
  async first<T extends EventType>(type: T, uuid?: string): Promise<Of<T>> {
    const [event] = await this.some(type, 1, uuid)
    return event as Of<T>
  }

  /** The uuid of the n-th socket, once it has connected. */
  async uuid(n = 0): Promise<string> {
    await this.until(() => this.uuids.length > n, `socket ${n}`)
    return this.uuids[n] as string
  }
}
