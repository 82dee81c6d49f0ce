// What the servers have in common. Each is the shortest program that does the work with its own best settings: no
// compression, no limit that the loads reach, its own way to publish.
//
// PORT=0 MODE=echo|broadcast; prints `listening PORT`. The text `block MS` keeps JavaScript busy for so long, and is
// answered with `done`. SIGUSR2 prints `cpu MS`: the CPU time of the thread that runs JavaScript.

import { readFileSync } from 'node:fs'
import process from 'node:process'

export const PORT = Number(process.env.PORT ?? 0)
export const BROADCAST = process.env.MODE === 'broadcast'
/** Larger than any message of the loads. */
export const MAX_PAYLOAD = 1024 * 1024
/** What may wait for one socket. */
export const BACKPRESSURE = 1024 * 1024
/** The page, of the size of pocketsocket's own. */
export const PAGE = `<!doctype html><title>benchmark</title><p>${'It works. '.repeat(200)}</p>`

/** Length of `block 3000`: whoever gets a message of another length need not look into it. */
export const BLOCK_LENGTH = 10

/** Spins if the text asks for that; tells whether it did. */
export function blocked(text) {
  if (!text.startsWith('block ')) return false
  const end = performance.now() + Number(text.slice('block '.length))
  while (performance.now() < end);
  return true
}

/** To be called once the server listens. */
export function listening(port) {
  process.on('SIGUSR2', () => {
    // Linux: nanoseconds that the calling thread ran.
    const [nanos] = readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')
    console.log(`cpu ${Number(nanos) / 1e6}`)
  })
  process.on('SIGTERM', () => process.exit(0))
  console.log(`listening ${port}`)
}
