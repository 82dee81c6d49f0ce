// Builds what is measured and what measures, and installs the peers.

import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { HERE, ROOT } from './paths.mjs'

let built

/** The programs: `bench`, the load client, and `cli`, the bare executable. */
export function executables() {
  if (built === undefined) throw new Error('build() comes first')
  return built
}

/** Builds the programs; cargo decides what there is to do. The addon and index.js are `npm run build`'s. */
export function build() {
  for (const file of ['index.js', 'lib/binding.js']) {
    if (!existsSync(join(ROOT, file))) throw new Error(`${file} is missing: run 'npm run build' first`)
  }
  const packages = ['-p', 'pocketsocket-bench', '-p', 'pocketsocket-cli']
  const args = ['build', '--release', '--locked', '--message-format=json-render-diagnostics', ...packages]
  const { status, stdout, error } = spawnSync('cargo', args, {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (error !== undefined) throw new Error(`cargo cannot be started: ${error.message}`)
  if (status !== 0) throw new Error('the load client cannot be built')
  const programs = new Map()
  for (const line of stdout.split('\n')) {
    if (!line.includes('"executable":"')) continue
    const { target, executable } = JSON.parse(line)
    programs.set(target.name, executable)
  }
  built = { bench: programs.get('pocketsocket-bench'), cli: programs.get('pocketsocket') }
}

/** Installs the peers, if that has not been done since the lockfile changed. No install scripts are needed. */
export function installPeers() {
  const installed = join(HERE, 'node_modules/.package-lock.json')
  const lock = join(HERE, 'package-lock.json')
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return
  const { status } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: HERE,
    stdio: ['ignore', process.stderr, 'inherit'],
  })
  if (status !== 0) throw new Error('the peers cannot be installed')
}
