// Builds the addon for this machine's Linux against glibc 2.17, with napi's own toolchain, and checks what it needs.
//
//   npm run build:portable
//
// napi downloads the toolchain's newest package; where the registry lacks that version, any other of the package does.

import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { homedir, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { newestGlibc } from './glibc.mjs'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const TRIPLES = { x64: 'x86_64-unknown-linux-gnu', arm64: 'aarch64-unknown-linux-gnu' }
const OUT = join(ROOT, 'build/portable')

const triple = TRIPLES[process.arch]
if (process.platform !== 'linux' || triple === undefined) {
  console.error('build:portable: Linux on x64 or arm64 is needed')
  process.exit(1)
}

prepareToolchain()
const napi = ['napi', 'build', '--release', '--platform', '--strip', '--use-napi-cross', '--target', triple]
const files = ['--manifest-path', 'crates/pocketsocket-node/Cargo.toml', '--output-dir', OUT]
// A target directory of its own: objects of two linkers would otherwise replace each other.
const { status } = spawnSync('npx', [...napi, ...files, '--no-js', '--dts', 'binding.d.cts'], {
  cwd: ROOT,
  stdio: 'inherit',
  env: { CARGO_TARGET_DIR: join(ROOT, 'target/portable'), ...process.env },
})
if (status !== 0) process.exit(status ?? 1)
for (const file of readdirSync(OUT).filter((file) => file.endsWith('.node'))) {
  const newest = newestGlibc(join(OUT, file))
  console.log(`build/portable/${file} needs glibc ${newest}`)
  if (newest === null || newest.localeCompare('2.17', 'en', { numeric: true }) > 0) process.exit(1)
}

/** Unpacks the toolchain where napi looks for it. */
function prepareToolchain() {
  const require = createRequire(join(ROOT, 'node_modules/@napi-rs/cli/package.json'))
  const { version } = require('@napi-rs/cross-toolchain')
  const folder = join(homedir(), '.napi-rs/cross-toolchain', version, triple)
  if (existsSync(join(folder, 'package.json'))) return
  const name = `@napi-rs/cross-toolchain-${process.arch}-target-${triple.split('-')[0]}`
  const scratch = mkdtempSync(join(tmpdir(), 'pocketsocket-toolchain-'))
  try {
    const at = (spec) =>
      execFileSync('npm', ['pack', '--silent', spec], { cwd: scratch, encoding: 'utf8', stdio: 'pipe' })
    try {
      at(`${name}@${version}`)
    } catch {
      at(name)
    }
    const tarball = readdirSync(scratch).find((file) => file.endsWith('.tgz'))
    execFileSync('tar', ['-xzf', tarball, '--strip-components=1'], { cwd: scratch })
    mkdirSync(folder, { recursive: true })
    execFileSync('tar', ['-xJf', join(scratch, `${triple}.tar.xz`), '-C', folder])
    JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}
