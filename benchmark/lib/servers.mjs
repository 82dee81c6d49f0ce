// The servers that are compared, and how one is started and stopped.

import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { executables } from './build.mjs'
import { HERE, ROOT } from './paths.mjs'

const START_LIMIT = 15_000
const STOP_LIMIT = 3_000

const script = (name) => join(HERE, 'servers', `${name}.mjs`)
const modulePath = (...parts) => join(HERE, 'node_modules', ...parts)
const bun = modulePath('@oven/bun-linux-x64/bin/bun')
const deno = modulePath('@deno/linux-x64-glibc/deno')

/**
 * `ours` are not peers: ratios are to the best of the others. `command(broadcast)` gives program and arguments,
 * `package` is the folder whose version is told.
 */
export const SERVERS = [
  {
    id: 'pocketsocket',
    name: 'pocketsocket, JavaScript hook',
    ours: true,
    package: ROOT,
    command: () => [process.execPath, script('pocketsocket')],
  },
  {
    id: 'native',
    name: 'pocketsocket, no JavaScript',
    ours: true,
    package: ROOT,
    command: (broadcast) => [executables().bench, 'native', ...(broadcast ? ['--broadcast'] : [])],
    startup: () => [executables().cli, '--run', '--port', '{port}'],
    // It runs no JavaScript that could be blocked.
    lacks: ['stall'],
  },
  {
    id: 'ws',
    name: 'ws',
    package: modulePath('ws'),
    command: () => [process.execPath, script('ws')],
  },
  {
    id: 'uws',
    name: 'uWebSockets.js',
    package: modulePath('@trufflesuite/uws-js-unofficial'),
    command: () => [process.execPath, script('uws')],
  },
  { id: 'bun', name: 'Bun', package: modulePath('@oven/bun-linux-x64'), command: () => [bun, script('bun')] },
  {
    id: 'deno',
    name: 'Deno',
    package: modulePath('@deno/linux-x64-glibc'),
    command: () => [deno, 'run', '--quiet', '--allow-all', '--no-lock', '--no-config', script('deno')],
  },
]

/** The version of a server, or undefined if it is not installed. */
export function versionOf(server) {
  const file = join(server.package, 'package.json')
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).version : undefined
}

const running = new Set()

/** Ends what was started: nothing may outlive the run. */
export function killAll() {
  for (const child of running) child.kill('SIGKILL')
}

/** Starts a process that `killAll` knows. */
export function start(command, options) {
  const child = spawn(command[0], command.slice(1), options)
  running.add(child)
  child.once('close', () => running.delete(child))
  child.once('error', () => running.delete(child))
  return child
}

/**
 * Starts a server and waits until it listens.
 *
 * @param cpus for `taskset`, or undefined to pin nothing.
 */
export async function startServer(server, { broadcast = false, cpus } = {}) {
  const command = server.command(broadcast)
  const pinned = cpus === undefined ? command : ['taskset', '-c', cpus, ...command]
  const child = start(pinned, {
    // Standard input stays open: the native server ends with it.
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, PORT: '0', MODE: broadcast ? 'broadcast' : 'echo', NODE_ENV: 'production' },
  })
  child.stdin.on('error', () => {})
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors = (errors + text).slice(-2000)
  })
  const port = await new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`${server.name} does not start: ${why} ${errors.trim()}`.trim()))
    const timer = setTimeout(() => fail(`not within ${START_LIMIT} ms`), START_LIMIT)
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output = (output + text).slice(-2000)
      const listening = /^listening (\d+)$/m.exec(output)
      if (listening === null) return
      clearTimeout(timer)
      resolve(Number(listening[1]))
    })
    child.once('error', (error) => {
      clearTimeout(timer)
      fail(error.message)
    })
    child.once('close', (code) => {
      clearTimeout(timer)
      fail(`exit code ${code}`)
    })
  }).catch((error) => {
    child.kill('SIGKILL')
    throw error
  })
  return { server, pid: child.pid, url: `ws://127.0.0.1:${port}/`, stop: () => stop(child) }
}

/** Asks for the end, and does not wait long for it. */
function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT)
    child.once('close', () => {
      clearTimeout(timer)
      resolve()
    })
    child.stdin.end()
    child.kill('SIGTERM')
  })
}
