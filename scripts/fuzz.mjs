// Each fuzzing target for some seconds, from its seeds on: node scripts/fuzz.mjs [SECONDS] [TARGET...]. What is found stays
// in build/fuzz; a finding is exit code 1, and the input that shows it in build/fuzz/TARGET-artifacts.
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { root, tools } from './tools.mjs'

const [seconds = '10', ...chosen] = process.argv.slice(2)
const targets = chosen.length > 0 ? chosen : ['handshake', 'frames', 'commands', 'options']

// The sanitizers and the coverage of libFuzzer are flags of nightly compilers, which a stable one takes with this.
const env = { ...tools(), RUSTC_BOOTSTRAP: '1' }
const run = (...args) => execFileSync('cargo-fuzz', args, { cwd: root, env, stdio: 'inherit' })
try {
  run('build', '--fuzz-dir', 'fuzz')
  for (const target of targets) {
    const corpus = join(root, 'build/fuzz', target)
    const artifacts = join(root, 'build/fuzz', `${target}-artifacts/`)
    for (const folder of [corpus, artifacts]) mkdirSync(folder, { recursive: true })
    const options = [`-max_total_time=${seconds}`, `-artifact_prefix=${artifacts}`, '-timeout=10', '-rss_limit_mb=1024']
    run(
      'run',
      '--fuzz-dir',
      'fuzz',
      target,
      corpus,
      join(root, 'fuzz/seeds', target),
      '--',
      ...options,
      '-verbosity=0',
      '-print_final_stats=1',
    )
  }
} catch {
  process.exitCode = 1
}
