// The comparison: every server under every load, round after round, each time in a fresh process.
// `npm run bench -- --help` tells how to ask for less.

import { mkdirSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { build, installPeers } from './lib/build.mjs'
import { chart } from './lib/chart.mjs'
import { environment } from './lib/environment.mjs'
import { LOADS, SHOWN } from './lib/loads.mjs'
import { measure } from './lib/measure.mjs'
import { CHART, RESULTS, SCRATCH } from './lib/paths.mjs'
import { killAll, SERVERS, startServer, versionOf } from './lib/servers.mjs'
import { text } from './lib/tables.mjs'

const HELP = `Measures pocketsocket beside other WebSocket servers, on this machine alone.

usage: npm run bench -- [options]

  --rounds N          each server under each load, alternating (default 5)
  --seconds S         how long one measurement lasts, after a second that is not counted (default 5)
  --only LIST         loads whose names begin so: ${LOADS.map((load) => load.id).join(', ')}
  --servers LIST      some of ${SERVERS.map((server) => server.id).join(', ')}
  --pinned            a second table: the whole server on one core, the client on the others
  --quick             does it all work? one short round; its figures mean nothing

A full run writes benchmark/results.json and docs/performance.svg, any other build/benchmark/.
REQUIRE_ALL=1: a peer that does not load fails the run, instead of being named and skipped.`

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    only: { type: 'string' },
    servers: { type: 'string' },
    pinned: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})

if (flags.help) {
  console.log(HELP)
} else {
  process.once('exit', killAll)
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130))
  try {
    process.exitCode = await main()
  } catch (error) {
    console.error(`bench: ${error.message}`)
    process.exitCode = 1
  }
}

async function main() {
  const settings = {
    rounds: positive('rounds', flags.quick ? 1 : 5),
    seconds: positive('seconds', flags.quick ? 0.5 : 5),
    warmup: flags.quick ? 0.2 : 1,
    rest: flags.quick ? 500 : 10_000,
    quick: flags.quick,
    pinned: flags.pinned,
  }
  const loads = LOADS.filter((load) => !flags.only || list(flags.only).some((name) => load.id.startsWith(name)))
  if (loads.length === 0) throw new Error(`--only '${flags.only}' is the name of no load`)
  const unknown = list(flags.servers).find((id) => SERVERS.every((server) => server.id !== id))
  if (unknown !== undefined) throw new Error(`--servers: '${unknown}' is no server`)
  const wanted = SERVERS.filter((server) => !flags.servers || list(flags.servers).includes(server.id))

  progress('building')
  build()
  installPeers()
  const { servers, skipped } = await loadable(wanted)
  const cpus = flags.pinned ? pinning() : undefined
  const where = environment(servers)
  const { results, failures } = await measureAll(plan(loads, servers, settings, cpus), settings)

  console.log(`\n${text(results)}\n`)
  if (flags.quick)
    console.log('A quick run: the loads were smaller than their titles say, and the figures mean nothing.')
  for (const { server, why } of skipped) console.log(`skipped: ${server}: ${why}`)
  for (const failure of failures) console.log(`failed: ${failure}`)
  const all = { ...where, settings, skipped, results }
  const isFull = !flags.quick && !flags.only && !flags.servers && skipped.length === 0 && failures.length === 0
  write(isFull ? RESULTS : join(SCRATCH, 'results.json'), `${JSON.stringify(all, null, 1)}\n`)
  write(isFull ? CHART : join(SCRATCH, 'performance.svg'), chart(all))
  return failures.length === 0 ? 0 : 1
}

function list(value) {
  return value === undefined ? [] : value.split(',').map((name) => name.trim())
}

function positive(name, standard) {
  const value = Number(flags[name] ?? standard)
  if (!(value > 0)) throw new Error(`--${name} '${flags[name]}' is not above 0`)
  return value
}

/** Tries each server once: those that start, and why the others do not. */
async function loadable(wanted) {
  const servers = []
  const skipped = []
  for (const server of wanted) {
    progress(`trying ${server.name}`)
    try {
      if (versionOf(server) === undefined) throw new Error(`${server.name} is not installed on this platform`)
      await (await startServer(server)).stop()
      servers.push(server)
    } catch (error) {
      if (server.ours || process.env.REQUIRE_ALL === '1') throw error
      skipped.push({ server: server.id, why: error.message })
    }
  }
  return { servers, skipped }
}

function pinning() {
  const cores = os.availableParallelism()
  if (process.platform !== 'linux' || cores < 2) throw new Error('--pinned needs Linux and two cores')
  return { server: '0', client: cores === 2 ? '1' : `1-${cores - 1}` }
}

/** All measurements in order. Within a load each round begins with another server, so that no one always comes first. */
function plan(loads, servers, settings, cpus) {
  const steps = []
  for (const [table, pins] of [['free'], ['pinned', cpus]]) {
    if (table === 'pinned' && pins === undefined) continue
    for (const load of loads.filter((load) => table === 'free' || load.pinned)) {
      const fit = servers.filter((server) => !server.lacks?.includes(load.id))
      const able = fit.filter((server) => load.only === undefined || load.only.includes(server.id))
      for (let round = 0; round < settings.rounds; round++) {
        for (let turn = 0; turn < able.length; turn++) {
          steps.push({ table, load, pins, round, server: able[(turn + round) % able.length] })
        }
      }
    }
  }
  return steps
}

async function measureAll(steps, settings) {
  const results = new Map()
  const failures = []
  const began = performance.now()
  for (const [index, { table, load, pins, round, server }] of steps.entries()) {
    const left = index === 0 ? '' : `, ${minutes(((performance.now() - began) / index) * (steps.length - index))} left`
    const name = `${load.id}${table === 'pinned' ? ' pinned' : ''} ${server.id}, round ${round + 1}`
    const place = `[${index + 1}/${steps.length}${left}]`
    progress(`${place} ${name}`)
    const key = `${table} ${load.id} ${server.id}`
    const result = results.get(key) ?? { table, load: load.id, server: server.id, failures: 0, runs: [] }
    results.set(key, result)
    try {
      const run = await measure(load, server, settings, pins)
      result.runs.push(run)
      const { main } = SHOWN[load.load]
      progress(`${place} ${name}: ${main.tell(run[main.figure])} ${main.head}`, true)
    } catch (error) {
      result.failures += 1
      failures.push(`${name}: ${error.message}`)
      progress(`${place} ${name} failed: ${error.message}`, true)
    }
  }
  return { results: [...results.values()], failures }
}

function minutes(ms) {
  return ms < 90_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`
}

/** Tells where the run is: on a terminal in place, unless it is final; elsewhere only what is final. */
function progress(line, final = false) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}${final ? '\n' : ''}`)
  else if (final) process.stderr.write(`${line}\n`)
}

function write(file, content) {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, content)
  console.log(`written: ${file}`)
}
