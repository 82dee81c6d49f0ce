// `npm run ready:long`: what takes too long for each change. Fuzzing for 10 minutes a target, a million sockets that come and
// go, a thousand threads and processes that end in the middle of a callback, sanitizers. Each part's output stays in
// build/long; node scripts/long.mjs PART... runs some of them.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './tools.mjs'

const target = 'x86_64-unknown-linux-gnu'
// The standard library comes as it is; the sanitizer sees all that is compiled here.
const sanitized = {
  RUSTC_BOOTSTRAP: '1',
  RUSTFLAGS: '-Zsanitizer=address',
  ASAN_OPTIONS: 'detect_leaks=1',
  CARGO_TARGET_DIR: join(root, 'target/sanitized'),
}

const parts = {
  'soak-native': ['node', ['scripts/soak.mjs', '1000000', 'native']],
  'soak-node': ['node', ['scripts/soak.mjs', '1000000', 'node']],
  faults: ['npx', ['ava', 'build/__test__/faults.spec.js', '--timeout=60m'], { FAULT_ROUNDS: '500' }],
  terminations: ['npx', ['ava', 'build/__test__/terminations.spec.js', '--timeout=20m'], { POCKETSOCKET_LONG: '1' }],
  restarts: ['cargo', ['test', '--locked', '-p', 'pocketsocket', '--test', 'restart'], { RESTARTS: '1000' }],
  sanitizers: [
    'cargo',
    [
      ...['test', '--locked', '--no-fail-fast', '-p', 'pocketsocket', '--lib', '--tests', '--target', target],
      // Resident memory tells nothing beside the sanitizer's own.
      ...['--', '--skip', 'what_is_kept_for_each_client_is_bounded'],
    ],
    sanitized,
  ],
  fuzz: ['node', ['scripts/fuzz.mjs', '600']],
}

const chosen = process.argv.slice(2)
const folder = join(root, 'build/long')
mkdirSync(folder, { recursive: true })
for (const [name, [command, args, env]] of Object.entries(parts)) {
  if (chosen.length > 0 && !chosen.includes(name)) continue
  const log = createWriteStream(join(folder, `${name}.log`))
  const started = performance.now()
  const child = spawn(command, args, { cwd: root, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  for (const stream of [child.stdout, child.stderr]) stream.pipe(log, { end: false })
  const [code, signal] = await once(child, 'close')
  log.end()
  const seconds = Math.round((performance.now() - started) / 1000)
  console.log(`${name}: ${code === 0 ? 'passed' : `FAILED (${signal ?? code})`}, ${seconds} s, build/long/${name}.log`)
  if (code !== 0) process.exitCode = 1
}
