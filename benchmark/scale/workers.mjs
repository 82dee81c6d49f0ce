// The same echo on one thread, on four worker threads of one process, and in three processes behind one port: what each gets
// done, and the CPU time of all server processes an echo. With a hook that only echoes, which shows what the way itself costs,
// and with one that works for 50 us, for which one would take it.
//
// The work is a loop of a fixed length, measured to take 50 us alone: a hook that looked at the clock would count the time in
// which another thread had its core as work done. Linux. Run:
//   npm run build && node benchmark/scale/workers.mjs
import { availableParallelism } from 'node:os'
import { endAfter, median, program, work } from './support.mjs'

const MICROSECONDS = 50
const SOCKETS = 64
const ROUNDS = 3
const MS = 4000
const WAYS = {
  'one thread': { processes: 1, workers: 0 },
  'four workers': { processes: 1, workers: 4 },
  'three processes': { processes: 3, workers: 0 },
}

/** Steps that take so long on a core of its own: the best of many, as others may take it meanwhile. */
function calibrate() {
  work(1e6)
  let best = Number.POSITIVE_INFINITY
  for (let n = 0; n < 200; n++) {
    const start = performance.now()
    work(1e5)
    best = Math.min(best, performance.now() - start)
  }
  return Math.round((1e5 * MICROSECONDS) / 1000 / best)
}

async function measure({ processes, workers }, steps) {
  const servers = []
  let port = 0
  for (let n = 0; n < processes; n++) {
    servers.push(program('echo', { PORT: String(port), WORKERS: String(workers), STEPS: String(steps) }))
    port = (await servers[n].said()).port
  }
  const load = program('client')
  await load.ask({ open: { count: SOCKETS, port } })
  const told = await load.ask({ echo: { window: 16, ms: MS, pids: servers.map(({ pid }) => pid) } })
  if (told.ended > 0) throw new Error(`${told.ended} sockets have ended`)
  for (const { kill } of [load, ...servers]) await kill()
  return told
}

endAfter(300)
const hooks = [
  { name: 'a hook that echoes', steps: 0 },
  { name: `a hook of ${MICROSECONDS} us`, steps: calibrate() },
]
const figures = new Map()
for (let round = 0; round < ROUNDS; round++)
  for (const hook of hooks)
    for (const [name, way] of Object.entries(WAYS)) {
      const key = `| ${hook.name} | ${name} |`
      if (!figures.has(key)) figures.set(key, { rate: [], cpu: [] })
      const { rate, cpu } = await measure(way, hook.steps)
      figures.get(key).rate.push(rate)
      figures.get(key).cpu.push(cpu)
    }
console.log(
  `${availableParallelism()} cores, ${SOCKETS} sockets with 16 messages each on their way, medians of ${ROUNDS} runs of ${MS / 1000} s`,
)
console.log('| hook | server | echoes/s | us CPU an echo |')
console.log('|---|---|---|---|')
for (const [key, { rate, cpu }] of figures)
  console.log(`${key} ${Math.round(median(rate))} | ${median(cpu).toFixed(1)} |`)
process.exit(0)
