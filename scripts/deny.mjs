// cargo-deny over the crates that are depended on; arguments name the checks, by default those that need no network.
import { execFileSync } from 'node:child_process'
import { root, tools } from './tools.mjs'

const given = process.argv.slice(2)
const checks = given.length > 0 ? given : ['bans', 'licenses', 'sources']
try {
  execFileSync('cargo-deny', ['--locked', 'check', '--hide-inclusion-graph', ...checks], {
    cwd: root,
    env: tools(),
    stdio: 'inherit',
  })
} catch {
  process.exitCode = 1
}
