// What an installation weighs, beside others: packed (the download) and unpacked, with all dependencies, without scripts.
//
//   npm run sizes    writes the table; needs npm's registry, and `npm run build` before

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const PEERS = ['ws', 'socket.io', 'crossws', '@trufflesuite/uws-js-unofficial']

const scratch = mkdtempSync(join(tmpdir(), 'pocketsocket-sizes-'))
try {
  const packed = run(process.execPath, [join(ROOT, 'scripts/pack.mjs'), '--out', join(scratch, 'packed')])
  const tarballs = packed.trim().split('\n')
  console.log('| package | packages | installed, bytes | largest file, bytes |\n|---|---|---|---|')
  measure('pocketsocket', [...tarballs])
  for (const peer of PEERS) measure(peer, [peer])
  const download = tarballs.reduce((sum, file) => sum + statSync(file).size, 0)
  console.log(`\npocketsocket's download for this platform: ${download} bytes.`)
  if (download > 1_000_000) process.exitCode = 1
} finally {
  rmSync(scratch, { recursive: true, force: true })
}

function measure(name, specs) {
  const folder = mkdtempSync(join(scratch, 'install-'))
  writeFileSync(join(folder, 'package.json'), '{ "private": true }')
  try {
    // The platforms that are not published yet are optional: npm leaves them out.
    run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', ...specs], folder)
  } catch (error) {
    console.log(`| ${name} | cannot be installed here: ${String(error.stderr).split('\n')[0]} | | |`)
    return
  }
  const modules = join(folder, 'node_modules')
  const files = readdirSync(modules, { recursive: true, encoding: 'utf8' })
    .filter((file) => !file.startsWith('.'))
    .map((file) => ({ file, size: statSync(join(modules, file)).isFile() ? statSync(join(modules, file)).size : 0 }))
  const packages = files.filter(({ file }) =>
    /(^|node_modules\/)(@[^/]+\/)?[^/@.][^/]*\/package\.json$/.test(file),
  ).length
  const total = files.reduce((sum, { size }) => sum + size, 0)
  const largest = Math.max(...files.map(({ size }) => size))
  console.log(`| ${name} | ${packages} | ${total} | ${largest} |`)
}

function run(command, args, cwd = ROOT) {
  return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}
