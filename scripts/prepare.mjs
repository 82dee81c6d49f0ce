// Brings a fresh clone to the point where it runs: dependencies, addon, JavaScript. Does only what is not done yet.
// cargo decides by itself what to compile, so calling it each time is cheap and never stale.
import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

function run(command, args) {
  // npm is a script on Windows, which only a shell can start.
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    // `npm start --silent` silences npm's own words, not what is wrong.
    env: { ...process.env, npm_config_loglevel: 'error' },
    shell: process.platform === 'win32',
  })
  if (error !== undefined) {
    console.error(
      `${command} cannot be started (${error.message}). Node.js >= 20.19 and Rust (https://rustup.rs) are needed.`,
    )
    process.exit(1)
  }
  if (status !== 0) process.exit(status ?? 1)
}

const installed = join(root, 'node_modules/.package-lock.json')
if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(join(root, 'package-lock.json')).mtimeMs) {
  // Not `npm ci`: it refuses a lockfile that lacks binaries for platforms which the registry at hand does not carry.
  run('npm', ['install', '--no-save', '--no-audit', '--no-fund'])
}
run('npm', ['run', '--silent', 'build'])
