// Gives the crates and the packages one version, and the changelog's unreleased part its name and date.
//
//   npm run set-version -- 0.2.0
//
// Every place is checked before anything is written.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'

const [version = ''] = process.argv.slice(2)
const changes = new Map()

try {
  if (!/^\d+\.\d+\.\d+(-[0-9a-z]+(\.[0-9a-z]+)*)?$/.test(version)) {
    throw new Error(`'${version}' is no version such as 0.2.0 or 1.0.0-rc.1`)
  }
  json('package.json')
  json('package-lock.json', (lock) => {
    lock.packages[''].version = version
  })
  for (const platform of readdirSync('npm')) json(`npm/${platform}/package.json`)
  text('Cargo.toml', /(\[workspace\.package\]\nversion = ")[^"]+/)
  const crates = readdirSync('crates').filter((name) => existsSync(`crates/${name}/Cargo.toml`))
  for (const name of crates) text('Cargo.lock', new RegExp(`(name = "${name}"\\nversion = ")[^"]+`))
  const date = new Date().toISOString().slice(0, 10)
  text('CHANGELOG.md', /(## \[Unreleased\]\n)/, `\n## [${version}] - ${date}\n`)
  for (const [file, content] of changes) writeFileSync(file, content)
  console.log(`${version}: ${[...changes.keys()].join(', ')}`)
} catch (error) {
  console.error(`set-version: ${error.message}`)
  process.exitCode = 1
}

function json(file, more = () => {}) {
  const manifest = JSON.parse(readFileSync(file, 'utf8'))
  manifest.version = version
  more(manifest)
  changes.set(file, `${JSON.stringify(manifest, null, 2)}\n`)
}

function text(file, pattern, after = version) {
  const before = changes.get(file) ?? readFileSync(file, 'utf8')
  if (!pattern.test(before)) throw new Error(`${file} has nothing like ${pattern}`)
  changes.set(
    file,
    before.replace(pattern, (_, kept) => kept + after),
  )
}
