// Packs what is published: the package, and one package for each platform whose addon is there.
//
//   npm run pack [-- --addons DIR] [--out DIR] [--all]
//
// The packed manifest pins every platform's package to the exact version and has no scripts, so that an installation runs none.
// --addons: where the .node files are, the repository by default. --all: a platform that is missing is a failure.

import { execFileSync } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))

const { values: flags } = parseArgs({
  options: {
    addons: { type: 'string', default: ROOT },
    out: { type: 'string', default: join(ROOT, 'build/packages') },
    all: { type: 'boolean', default: false },
  },
})

const out = resolve(flags.out)
const addons = resolve(flags.addons)
rmSync(out, { recursive: true, force: true })
mkdirSync(out, { recursive: true })

try {
  console.log(pack())
} catch (error) {
  console.error(`pack: ${error.message}`)
  process.exitCode = 1
}

function pack() {
  const { version } = manifest(ROOT)
  const platforms = readdirSync(join(ROOT, 'npm')).sort()
  const packed = []
  for (const platform of platforms) {
    const own = manifest(join(ROOT, 'npm', platform))
    if (own.version !== version)
      throw new Error(`${own.name} is ${own.version}, not ${version}: npm run set-version -- ${version}`)
    const addon = join(addons, own.main)
    if (existsSync(addon)) packed.push(packPlatform(platform, addon))
    else if (flags.all) throw new Error(`${addon} is missing`)
  }
  if (packed.length === 0) throw new Error(`there is no addon in ${addons}: npm run build`)
  packed.push(packMain(version, platforms))
  return packed.join('\n')
}

function packPlatform(platform, addon) {
  const stage = join(out, 'stage', platform)
  cpSync(join(ROOT, 'npm', platform), stage, { recursive: true })
  copyFileSync(join(ROOT, 'LICENSE'), join(stage, 'LICENSE'))
  copyFileSync(addon, join(stage, manifest(stage).main))
  return tarball(stage)
}

function packMain(version, platforms) {
  const { scripts: _, devDependencies: _d, ava: _a, napi: _n, ...published } = manifest(ROOT)
  const stage = join(out, 'stage/pocketsocket')
  // npm knows which files these are; it also takes README and LICENSE along.
  for (const { path } of JSON.parse(npm(ROOT, 'pack', '--dry-run', '--json', '--ignore-scripts'))[0].files) {
    mkdirSync(dirname(join(stage, path)), { recursive: true })
    copyFileSync(join(ROOT, path), join(stage, path))
  }
  for (const file of ['index.js', 'lib/binding.js']) {
    if (!existsSync(join(stage, file))) throw new Error(`${file} is missing: npm run build:js`)
  }
  published.optionalDependencies = Object.fromEntries(
    platforms.map((platform) => [`pocketsocket-${platform}`, version]),
  )
  writeFileSync(join(stage, 'package.json'), `${JSON.stringify(published, null, 2)}\n`)
  return tarball(stage)
}

function tarball(stage) {
  const [{ filename }] = JSON.parse(npm(stage, 'pack', '--json', '--ignore-scripts', '--pack-destination', out))
  return join(out, filename)
}

function manifest(folder) {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
}

function npm(cwd, ...args) {
  // npm is a script on Windows, which only a shell can start.
  return execFileSync('npm', args, {
    cwd,
    encoding: 'utf8',
    shell: process.platform === 'win32',
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, npm_config_loglevel: 'error', npm_config_dry_run: String(args.includes('--dry-run')) },
  })
}
