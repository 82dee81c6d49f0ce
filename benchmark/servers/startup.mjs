// From the call of runServer to a server that accepts, inside of a Node that runs: prints `ready MS`.
// The import is not counted; loading the addon is part of it.
import { runServer } from '../../index.js'

const began = performance.now()
const server = runServer('127.0.0.1', 0)
const took = performance.now() - began
console.log(`ready ${took.toFixed(3)}`)
server.unref()
process.exit(0)
