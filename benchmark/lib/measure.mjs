// One measurement: a fresh server, one load, its figures.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { executables } from './build.mjs'
import { HERE } from './paths.mjs'
import { start, startServer } from './servers.mjs'

/** How much longer than asked for a client may take: handshakes of 10,000 sockets, a drain, a server that hangs. */
const CLIENT_GRACE = 60_000
/** From a server's start until its memory is looked at. */
const SETTLE = 1000

/**
 * Gives the client's figures of one load on one server.
 *
 * @param settings `seconds`, `warmup`, `rest`: how long sockets idle before they are weighed, ms.
 * @param cpus `{ server, client }` for `taskset`, or undefined.
 */
export async function measure(load, server, settings, cpus) {
  const options = { ...load.options, ...(settings.quick ? load.quick : {}) }
  if (load.load === 'startup' || load.load === 'startup-run-server') return measureStartup(load, server, options)
  const broadcast = load.load === 'broadcast'
  const target = await startServer(server, { broadcast, cpus: cpus?.server })
  try {
    if (load.load === 'idle') return await measureIdle(target, options, settings)
    const timed = load.load === 'stall' ? {} : { seconds: settings.seconds, warmup: settings.warmup, pid: target.pid }
    return await client(load.load, { url: target.url, ...options, ...timed }, cpus?.client).report
  } finally {
    await target.stop()
  }
}

/** Runs the load client; `ready` resolves at its line 'ready', `report` with its figures. */
function client(load, options, cpus) {
  const args = Object.entries(options).flatMap(([name, value]) =>
    value === true ? [`--${name}`] : [`--${name}`, value],
  )
  const command = [executables().bench, load, ...args.map(String), '--json']
  const child = start(cpus === undefined ? command : ['taskset', '-c', cpus, ...command], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let output = ''
  let errors = ''
  let becameReady
  const ready = new Promise((resolve) => {
    becameReady = resolve
  })
  child.stdin.on('error', () => {})
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text
    if (output.includes('ready\n')) becameReady()
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors += text
  })
  const report = new Promise((resolve, reject) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), CLIENT_GRACE + 1000 * (options.seconds ?? 0))
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      becameReady()
      const line = output.split('\n').findLast((line) => line.startsWith('{'))
      if (line === undefined) {
        reject(new Error(errors.trim() || `the client gave no report (${signal ?? code})`))
        return
      }
      const figures = JSON.parse(line)
      if (code === 0) resolve(figures)
      else reject(new Error(`${figures.errors} errors, the first: ${figures.error}`))
    })
  })
  // Whoever awaits `ready` first must not leave this one unhandled.
  report.catch(() => {})
  return { ready, report, end: () => child.stdin.end() }
}

/** What the server's process weighs more with sockets than without. Nothing is trimmed or collected by force. */
async function measureIdle(target, options, settings) {
  await sleep(SETTLE)
  const before = rss(target.pid)
  const sockets = client('idle', { url: target.url, ...options })
  await sockets.ready
  await sleep(settings.rest)
  const after = rss(target.pid)
  sockets.end()
  const figures = await sockets.report
  return { ...figures, rss_mib_before: before / 2 ** 20, rss_bytes_a_socket: (after - before) / options.sockets }
}

/** The resident memory of a process, in bytes; NaN where /proc is not. */
function rss(pid) {
  try {
    const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? []
    return Number(kib) * 1024
  } catch {
    return Number.NaN
  }
}

function measureStartup(load, server, options) {
  if (load.load === 'startup-run-server') {
    const command = `${process.execPath} ${join(HERE, 'servers/startup.mjs')}`
    return client('startup', { ...options, command }).report
  }
  const command = server.startup?.() ?? ['/usr/bin/env', 'PORT={port}', ...server.command(false)]
  return client('startup', { ...options, command: command.join(' '), url: 'http://127.0.0.1:{port}/' }).report
}
