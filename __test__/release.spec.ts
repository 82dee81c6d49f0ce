// What a release needs: one command for all versions, and a reader of the glibc that a binary needs.

import { cpSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'ava'
import { folder, run } from './support/child-executable.js'
import { ROOT } from './support/child-programs.js'

const FILES = ['package.json', 'package-lock.json', 'npm', 'Cargo.toml', 'Cargo.lock', 'CHANGELOG.md', 'crates']

/** The repository's manifests, in a folder that may be changed. */
function copied(t: Parameters<typeof folder>[0]): string {
  const path = folder(t)
  for (const file of FILES) {
    cpSync(join(ROOT, file), join(path, file), {
      recursive: true,
      filter: (source) => !/[\\/](src|tests|benches)$/.test(source),
    })
  }
  return path
}

const read = (...path: string[]) => readFileSync(join(...path), 'utf8')

test('one command moves the versions of crates, packages and changelog together', async (t) => {
  const path = copied(t)
  const { code, err } = await run(t, [process.execPath, join(ROOT, 'scripts/set-version.mjs'), '7.8.9-rc.1'], {
    cwd: path,
  })
  t.is(code, 0, err)
  const manifests = [
    'package.json',
    'package-lock.json',
    ...readdirSync(join(path, 'npm')).map((p) => `npm/${p}/package.json`),
  ]
  for (const file of manifests) t.is(JSON.parse(read(path, file)).version, '7.8.9-rc.1', file)
  t.is(JSON.parse(read(path, 'package-lock.json')).packages[''].version, '7.8.9-rc.1')
  t.regex(read(path, 'Cargo.toml'), /\[workspace\.package\]\nversion = "7\.8\.9-rc\.1"/)
  const crates = readdirSync(join(ROOT, 'crates'))
  t.true(crates.length > 3)
  for (const crate of crates) {
    t.true(read(path, 'Cargo.lock').includes(`name = "${crate}"\nversion = "7.8.9-rc.1"`), crate)
  }
  t.regex(read(path, 'CHANGELOG.md'), /## \[Unreleased\]\n\n## \[7\.8\.9-rc\.1\] - \d{4}-\d{2}-\d{2}\n/)
})

test('a version that is none changes nothing', async (t) => {
  const path = copied(t)
  for (const version of ['v1.0.0', '1.0', '', '1.0.0;']) {
    const { code, err } = await run(t, [process.execPath, join(ROOT, 'scripts/set-version.mjs'), version], {
      cwd: path,
    })
    t.is(code, 1)
    t.true(err.startsWith('set-version: '), err)
  }
  for (const file of ['package.json', 'Cargo.lock', 'CHANGELOG.md']) t.is(read(path, file), read(ROOT, file))
})

test('the glibc that a binary needs is read from its symbol versions', async (t) => {
  if (process.platform !== 'linux') return t.pass()
  const script = join(ROOT, 'scripts/glibc.mjs')
  const told = await run(t, [process.execPath, script, process.execPath])
  t.regex(told.out, /: glibc 2\.\d+\n$/)
  // Node.js itself needs some glibc, which is newer than the first of this architecture.
  t.is((await run(t, [process.execPath, script, process.execPath, '--max', '2.2.5'])).code, 1)
  t.is((await run(t, [process.execPath, script, process.execPath, '--max', '2.99'])).code, 0)
  t.not((await run(t, [process.execPath, script, join(ROOT, 'package.json')])).code, 0)
})

test('every action of the workflows is pinned to a commit, and no job has more rights than it names', (t) => {
  const workflows = join(ROOT, '.github/workflows')
  const files = readdirSync(workflows)
  t.true(files.includes('release.yml'), dirname(workflows))
  for (const file of files) {
    const workflow = read(workflows, file)
    t.regex(workflow, /^permissions: \{\}$/m, file)
    const uses = workflow.match(/uses: .*/g) ?? []
    t.true(uses.length > 0)
    for (const use of uses) t.regex(use, /^uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/, file)
  }
})
