// Installs what the installation is tested with, apart from the package's own dependencies. Does it once.

import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), '__test__/tools')
const installed = join(folder, 'node_modules/.package-lock.json')
if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(join(folder, 'package-lock.json')).mtimeMs) {
  // Not `npm ci`, as in prepare.mjs; no tool needs its install script.
  const args = ['install', '--no-save', '--no-audit', '--no-fund', '--ignore-scripts']
  const { status } = spawnSync('npm', args, {
    cwd: folder,
    stdio: 'inherit',
    env: { ...process.env, npm_config_loglevel: 'error' },
    shell: process.platform === 'win32',
  })
  if (status !== 0) process.exit(status ?? 1)
}
