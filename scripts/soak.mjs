// Clients that connect, get one echo and leave, again and again: what the server's memory does meanwhile.
//
//   node scripts/soak.mjs [CYCLES] [native|node]
//
// The slope of the resident memory over the second half must stay below one byte a cycle, or within the noise of the
// samples when there are too few cycles to tell. `native` is the server without JavaScript, `node` the addon with a hook.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { root } from './tools.mjs'

const cycles = Number(process.argv[2] ?? 100_000)
const kind = process.argv[3] ?? 'native'

execFileSync('cargo', ['build', '--locked', '-p', 'pocketsocket-bench'], { cwd: root, stdio: 'inherit' })
const bench = 'target/debug/pocketsocket-bench'
const command = kind === 'native' ? [bench, 'native'] : [process.execPath, '--expose-gc', 'scripts/soak-server.mjs']
// glibc has a heap for each of several threads, whose gaps grow by 1.6 bytes a cycle for the first million cycles under Node.js;
// with one heap for all, or jemalloc, it is 0.4. What is looked for here is what nobody frees.
const env = kind === 'node' ? { ...process.env, MALLOC_ARENA_MAX: '1' } : process.env
const server = spawn(command[0], command.slice(1), { cwd: root, env, stdio: ['pipe', 'pipe', 'inherit'] })
const [line] = await once(createInterface(server.stdout), 'line')
const url = `127.0.0.1:${line.replace('listening ', '')}`

/** Sockets that were opened so far, and bytes that are resident. */
async function sample() {
  const metrics = await (await fetch(`http://${url}/metrics`)).text()
  const opened = Number(/opened_total (\d+)/.exec(metrics)?.[1])
  const resident = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, 'latin1'))?.[1]) * 1024
  return { opened, resident }
}

const samples = []
try {
  for (let last = 0; last < cycles; ) {
    const churn = spawn(bench, ['churn', '--url', `ws://${url}/`, '--seconds', '5', '--warmup', '0'], {
      cwd: root,
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    const ended = once(churn, 'exit')
    for (let runs = true; runs; ) {
      runs = await Promise.race([ended.then(() => false), sleep(200).then(() => true)])
      const now = await sample()
      samples.push(now)
      last = now.opened
      if (last >= cycles) churn.kill()
    }
    const [code, signal] = await ended
    if (code !== 0 && signal === null) throw new Error('the load met errors')
  }
} finally {
  server.stdin.end()
  server.kill()
}

const half = samples.filter(({ opened }) => opened > samples.at(-1).opened / 2)
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length
const [x, y] = [mean(half.map(({ opened }) => opened)), mean(half.map(({ resident }) => resident))]
const sxx = half.reduce((sum, { opened }) => sum + (opened - x) ** 2, 0)
const slope = half.reduce((sum, { opened, resident }) => sum + (opened - x) * (resident - y), 0) / sxx
const rest = half.map(({ opened, resident }) => resident - y - slope * (opened - x))
const error = Math.sqrt(rest.reduce((sum, value) => sum + value ** 2, 0) / Math.max(1, half.length - 2) / sxx)
const mib = (bytes) => (bytes / 2 ** 20).toFixed(1)
console.log(
  `${kind}: ${samples.at(-1).opened} cycles, ${mib(samples[0].resident)} MiB at first, ${mib(half[0].resident)} MiB halfway, ` +
    `${mib(half.at(-1).resident)} MiB at last: ${slope.toFixed(2)} (+-${error.toFixed(2)}) bytes a cycle over the second half`,
)
// Two standard errors: a leak of a few bytes a cycle shows far above that in 100,000 cycles.
if (slope - 2 * error >= 1) {
  console.error('memory grows with the sockets that have come and gone')
  process.exitCode = 1
}
