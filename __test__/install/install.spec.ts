// The way of a user, from an empty folder to a server that runs: packed, published to a registry of the test's own, installed
// and started with nothing but Node.js on the PATH. `npm run test:install` installs the tools that it needs.

import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import test, { type ExecutionContext } from 'ava'
import { Executable, run } from '../support/child-executable.js'
import { ROOT } from '../support/child-programs.js'
import { Client } from '../support/client.js'
import { lacks } from '../support/skip.js'
import { within } from '../support/wait.js'
import { freePort, Registry, TOOLS, type User } from './registry.js'

/** The README's first example, on another port. */
const EXAMPLE = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, 'README.md'), 'utf8'))?.[1] ?? ''
const PACKAGE = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))

const esm = (port: number) => EXAMPLE.replace('8090', String(port))
/** As docs/install.md tells CommonJS: `require`, and no `await` at the top. */
const commonjs = (port: number) =>
  esm(port)
    .replace("import pocketsocket from 'pocketsocket'", "const { default: pocketsocket } = require('pocketsocket')")
    .replace('await ', '')

const registry = new Registry()
let npm: User

test.before(async (t) => {
  t.timeout(300_000)
  await registry.start()
  npm = registry.user('npm')
})

test.after.always(() => registry.stop())

/** Runs a server and talks to it as the README's first example promises. */
async function greets(t: ExecutionContext, user: User, command: string[], port: number): Promise<void> {
  const started = performance.now()
  const program = new Executable(t, user.command(command), { cwd: user.folder })
  const ended = program.end().then(({ err, out }) => {
    throw new Error(`it ended: ${out}${err}`)
  })
  ended.catch(() => {})
  const ada = await Promise.race([connect(port), ended])
  t.teardown(() => ada.terminate())
  t.is(await ada.text(), 'Howdy...')
  const bob = await connect(port)
  t.teardown(() => bob.terminate())
  t.is(await bob.text(), 'Howdy...')
  ada.send('hello')
  t.is(await bob.text(), 'hello')
  bob.send(Buffer.from([0, 255]))
  t.deepEqual(await ada.receive(), { data: Buffer.from([0, 255]), binary: true })
  await ada.close()
  bob.terminate()
  t.log(`${Math.round(performance.now() - started)} ms from starting it to the last message`)
  program.signal('SIGKILL')
}

/** Connects as soon as the server listens. */
async function connect(port: number): Promise<Client> {
  const end = performance.now() + 15_000
  for (;;) {
    try {
      return await Client.connect(`http://127.0.0.1:${port}/`)
    } catch (error) {
      if (performance.now() > end) throw error
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
}

test.serial('two commands from an empty folder to a server, under 10 seconds, without a compiler', async (t) => {
  const user = registry.user('quick')
  await t.throwsAsync(user.run('cargo', ['--version']), { message: /ENOENT/ })
  const port = await freePort()
  user.write('server.mjs', esm(port))
  const started = performance.now()
  await user.run('npm', ['install', 'pocketsocket'])
  const installed = performance.now() - started
  await greets(t, user, ['node', 'server.mjs'], port)
  const all = performance.now() - started
  t.log(`npm install ${Math.round(installed)} ms, in all ${Math.round(all)} ms`)
  t.true(all < 10_000, `${all} ms`)
})

test.serial('the whole installation is one package and one of the platform, and runs no script', async (t) => {
  await npm.run('npm', ['install', 'pocketsocket'])
  const folder = join(npm.folder, 'node_modules')
  const packages = readdirSync(folder).filter((name) => !name.startsWith('.'))
  t.is(packages.length, 2, packages.join())
  t.is(packages[0], 'pocketsocket')
  t.true(PACKAGE.napi.targets.length > 7)
  let bytes = 0
  for (const name of packages) {
    const manifest = JSON.parse(readFileSync(join(folder, name, 'package.json'), 'utf8'))
    t.is(manifest.version, PACKAGE.version)
    for (const key of ['scripts', 'dependencies', 'peerDependencies']) t.is(manifest[key], undefined, `${name} ${key}`)
    for (const file of readdirSync(join(folder, name), { recursive: true, encoding: 'utf8' })) {
      const { size } = statSync(join(folder, name, file))
      if (statSync(join(folder, name, file)).isFile()) bytes += size
    }
  }
  const { optionalDependencies } = JSON.parse(readFileSync(join(folder, 'pocketsocket/package.json'), 'utf8'))
  t.is(Object.keys(optionalDependencies).length, PACKAGE.napi.targets.length)
  for (const range of Object.values(optionalDependencies)) t.is(range, PACKAGE.version)
  const addon = statSync(
    join(folder, packages[1] ?? '', `${packages[1]?.replace('pocketsocket-', 'pocketsocket.')}.node`),
  )
  t.true(addon.size <= 2_000_000, `the addon has ${addon.size} bytes`)
  const download = registry.tarballs.reduce((sum, file) => sum + statSync(file).size, 0)
  t.true(download <= 1_000_000, `the download has ${download} bytes`)
  t.log(`addon ${addon.size}, installed ${bytes}, download ${download} bytes`)
})

test.serial("the README's first example runs as CommonJS", async (t) => {
  const port = await freePort()
  npm.write('server.cjs', commonjs(port))
  await greets(t, npm, ['node', 'server.cjs'], port)
})

for (const [name, file, args] of [
  ['node16', 'node16.mts', ['--module', 'node16', '--moduleResolution', 'node16']],
  ['bundler', 'bundler.mts', ['--module', 'esnext', '--moduleResolution', 'bundler']],
  ['nodenext, to CommonJS', 'nodenext.cts', ['--module', 'nodenext']],
] as const) {
  test.serial(`the README's first example compiles and runs: ${name}`, async (t) => {
    const types = join(npm.folder, 'node_modules/@types')
    if (!existsSync(types)) symlinkSync(join(ROOT, 'node_modules/@types'), types)
    const port = await freePort()
    const common = file.endsWith('.cts')
    npm.write(file, common ? esm(port).replace('await ', 'void ') : esm(port))
    const compiler = [
      join(ROOT, 'node_modules/typescript/bin/tsc'),
      '--strict',
      '--target',
      'es2022',
      '--types',
      'node',
    ]
    const { code, out } = await run(t, [process.execPath, ...compiler, ...args, file], { cwd: npm.folder })
    t.is(out, '')
    t.is(code, 0)
    await greets(t, npm, ['node', file.replace('ts', 'js')], port)
  })
}

test.serial('npx pocketsocket --run serves, and --version tells the version', async (t) => {
  const { out } = await npm.run('npx', ['pocketsocket', '--version'])
  t.is(out, `pocketsocket ${PACKAGE.version}\n`)
  const [file = '', ...args] = npm.command(['npx', 'pocketsocket', '--run', '--broadcast', '--port', '0'])
  // npx does not pass every signal on: the whole group gets it, as from a terminal.
  const program = spawn(file, args, { cwd: npm.folder, detached: true, stdio: ['ignore', 'pipe', 'inherit'] })
  const group = (signal: NodeJS.Signals) => process.kill(-(program.pid ?? 0), signal)
  const lines = createInterface(program.stdout)[Symbol.asyncIterator]()
  const line = async () => String((await within(lines.next(), 'a line')).value)
  try {
    t.is(await line(), 'Run')
    t.is(await line(), 'Template: built-in page')
    const url = (await line()).replace('Serving on ', '')
    t.is((await fetch(url)).status, 200)
    t.regex(await line(), /^TTL: /)
    group('SIGINT')
    t.is(await line(), 'Draining 0 sockets')
    t.is(await line(), 'Stopped')
  } finally {
    try {
      group('SIGKILL')
    } catch {
      // It has ended.
    }
  }
})

test.serial('pnpm installs it as well, without a question about scripts', async (t) => {
  const user = registry.user('pnpm')
  const { out, err } = await user.run('pnpm', ['add', 'pocketsocket'])
  t.notRegex(out + err, /Ignored build scripts|approve-builds/)
  const port = await freePort()
  user.write('server.mjs', esm(port))
  await greets(t, user, ['node', 'server.mjs'], port)
  const version = await user.run('pnpm', ['exec', 'pocketsocket', '--version'])
  t.is(version.out, `pocketsocket ${PACKAGE.version}\n`)
})

for (const major of [20, 22, 24]) {
  test.serial(`Node.js ${major}`, async (t) => {
    const node = join(TOOLS, `node-${major}/bin/node`)
    if (lacks(t, existsSync(node), `Node.js ${major} for this platform`)) return
    const { out } = await npm.run(node, ['--version'])
    t.true(out.startsWith(`v${major}.`), out)
    const port = await freePort()
    npm.write(`node-${major}.mjs`, esm(port))
    await greets(t, npm, [node, `node-${major}.mjs`], port)
    const second = await freePort()
    npm.write(`node-${major}.cjs`, commonjs(second))
    await greets(t, npm, [node, `node-${major}.cjs`], second)
  })
}

for (const [name, path, args] of [
  ['Bun', '@oven/bun-linux-x64/bin/bun', ['run']],
  ['Deno', '@deno/linux-x64-glibc/deno', ['run', '--allow-all', '--node-modules-dir=manual']],
] as const) {
  test.serial(name, async (t) => {
    const runtime = join(TOOLS, path)
    if (lacks(t, existsSync(runtime), `${name} for this platform`)) return
    const port = await freePort()
    npm.write(`${name}.mjs`, esm(port))
    await greets(t, npm, [runtime, ...args, `${name}.mjs`], port)
  })
}

test.serial('publint and are-the-types-wrong find nothing', async (t) => {
  const tarball = registry.tarballs.at(-1) ?? ''
  for (const [tool, ...args] of [
    ['publint/src/cli.js', tarball, '--strict'],
    ['@arethetypeswrong/cli/dist/index.js', tarball, '--profile', 'esm-only'],
  ] as const) {
    const { code, out, err } = await run(t, [process.execPath, join(TOOLS, tool), ...args])
    t.is(code, 0, out + err)
  }
})
