// Waiting for what a test expects: each wait has an end, and says what did not come.

import { setTimeout as sleep } from 'node:timers/promises'

/** What a healthy machine needs is a few milliseconds; a test that fails may take so long. */
const PATIENCE = 60_000

/** Gives the promise's value, or fails when it takes too long. */
export async function within<T>(promise: Promise<T>, what: string, ms = PATIENCE): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: did not come within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Waits for a state that no event tells of. */
export async function eventually(holds: () => boolean, what: string, ms = PATIENCE): Promise<void> {
  const end = performance.now() + ms
  while (!holds()) {
    if (performance.now() > end) throw new Error(`${what}: did not come true within ${ms} ms`)
    await sleep(2)
  }
}

/** Holds this thread, as an application's slow code would. */
export function busy(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

/** Values as they come, for whoever asks for the next one. */
export class Queue<T> {
  readonly #values: T[] = []
  readonly #waiting: ((value: T) => void)[] = []

  push(value: T): void {
    const first = this.#waiting.shift()
    if (first) first(value)
    else this.#values.push(value)
  }

  next(what: string, ms?: number): Promise<T> {
    if (this.#values.length > 0) return Promise.resolve(this.#values.shift() as T)
    return within(new Promise<T>((resolve) => this.#waiting.push(resolve)), what, ms)
  }

  /** What came and was not asked for. */
  get left(): number {
    return this.#values.length
  }
}
