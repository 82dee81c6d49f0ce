// Autobahn's cases 1 to 10 against the echo server without JavaScript. 9.* sends messages of 16 MiB, in up to 65,536
// frames: the two limits that stand in their way are raised, all others are the defaults.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { root, tools } from './tools.mjs'

const CASES = 301

const env = tools()
execFileSync('cargo', ['build', '--locked', '-p', 'pocketsocket-bench'], { cwd: root, stdio: 'inherit' })
const limits = ['--max-payload', String(17 << 20), '--max-fragments', '65536']
const server = spawn('target/debug/pocketsocket-bench', ['native', ...limits], {
  cwd: root,
  stdio: ['pipe', 'pipe', 'inherit'],
})
const ended = once(server, 'exit')
try {
  const [line] = await once(createInterface(server.stdout), 'line')
  const port = line.replace('listening ', '')
  const out = join(root, 'build/autobahn')
  const arguments_ = [`127.0.0.1:${port}`, '-p', '4', '-x', '12.*', '-x', '13.*', '-o', out]
  const told = execFileSync('kosoku', arguments_, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  process.stdout.write(told)
  if (!told.includes(`${CASES} cases passed`)) throw new Error(`not all of Autobahn's ${CASES} cases have passed`)
} catch (error) {
  // What failed is on its output; a report a case is in build/autobahn.
  process.stdout.write(error.stdout ?? '')
  console.error(error.message)
  process.exitCode = 1
} finally {
  server.stdin.end()
  await ended
}
