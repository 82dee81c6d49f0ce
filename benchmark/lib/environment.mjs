// Where and on what the results came about.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import os from 'node:os'
import { ROOT } from './paths.mjs'
import { versionOf } from './servers.mjs'

function git(...args) {
  const { status, stdout } = spawnSync('git', args, { cwd: ROOT, encoding: 'utf8' })
  return status === 0 ? stdout.trim() : undefined
}

/** Date, commit, versions and machine. What a run itself writes does not make the work tree differ. */
export function environment(servers) {
  const changed = git('status', '--porcelain', '--', '.', ':!benchmark/results.json', ':!docs/performance.*')
  return {
    date: new Date().toISOString(),
    commit: git('rev-parse', 'HEAD') ?? 'unknown',
    changed: changed !== '',
    versions: {
      node: process.version,
      rust: spawnSync('rustc', ['--version'], { encoding: 'utf8' }).stdout?.trim() ?? 'unknown',
      ...Object.fromEntries(servers.map((server) => [server.id, versionOf(server) ?? 'unknown'])),
    },
    machine: {
      cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
      cores: os.availableParallelism(),
      memory: `${Math.round(os.totalmem() / 2 ** 30)} GiB`,
      system: `${prettyName()}, ${os.type()} ${os.release()}`,
      load: os.loadavg().map((load) => Number(load.toFixed(2))),
    },
  }
}

function prettyName() {
  try {
    const [, name] = /^PRETTY_NAME="(.*)"$/m.exec(readFileSync('/etc/os-release', 'utf8')) ?? []
    return name ?? os.platform()
  } catch {
    return os.platform()
  }
}
