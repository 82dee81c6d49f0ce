// Loading the binary in a project where something is wrong with it: each fault has its own code and says what to do.
//
// The system is what it is, so that a program is told of another by a preload; all else is the packed package itself.

import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { run } from './support/child-executable.js'
import { ROOT } from './support/child-programs.js'
import { installPacked, type Project } from './support/pack-tarball.js'

const { version, napi } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
const report = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
const LIBC = process.platform === 'linux' ? (report.header.glibcVersionRuntime === undefined ? 'musl' : 'glibc') : ''
const ABI = LIBC === 'musl' ? '-musl' : LIBC === 'glibc' ? '-gnu' : process.platform === 'win32' ? '-msvc' : ''
const HERE = `${process.platform}-${process.arch}${ABI}`

function project(t: ExecutionContext): Project {
  const made = installPacked()
  t.teardown(() => made.remove())
  return made
}

/** Puts files where npm puts the package of a platform. */
function addPackage(path: string, platform: string, addon: string | Buffer): string {
  const file = join(path, `node_modules/pocketsocket-${platform}/pocketsocket.${platform}.node`)
  mkdirSync(dirname(file), { recursive: true })
  copyFileSync(join(ROOT, 'npm', platform, 'package.json'), join(dirname(file), 'package.json'))
  writeFileSync(file, addon)
  return file
}

interface Told {
  code: string
  message: string
}

/** What loading the package throws; the process is told that it runs on `system`. */
async function load(t: ExecutionContext, path: string, system = {}, env: NodeJS.ProcessEnv = {}): Promise<Told> {
  const program = `
    for (const [key, value] of Object.entries(${JSON.stringify(system)})) Object.defineProperty(process, key, { value })
    try {
      await import('pocketsocket')
      console.log('{"code":"none"}')
    } catch ({ code, message }) {
      console.log(JSON.stringify({ code, message }))
    }`
  const { out, err } = await run(t, [process.execPath, '--input-type=module', '-e', program], { cwd: path, env })
  t.is(err, '')
  return JSON.parse(out)
}

test('a missing optional dependency is named, with what to do', async (t) => {
  const { code, message } = await load(t, project(t).path)
  t.is(code, 'ERR_NO_BINARY')
  t.true(
    message.startsWith(`pocketsocket-${HERE}, the binary of pocketsocket for ${process.platform} ${process.arch}`),
    message,
  )
  t.true(message.includes('--omit=optional'), message)
  t.true(message.endsWith(`npm install pocketsocket-${HERE}@${version}`), message)
  if (LIBC !== '') t.true(message.includes(`(${LIBC})`), message)
})

test('a platform without a binary is named, with those that have one', async (t) => {
  const { path } = project(t)
  for (const [system, words] of [
    [{ platform: 'freebsd', arch: 'x64' }, 'freebsd x64'],
    [{ platform: 'win32', arch: 'ia32' }, 'win32 ia32'],
    [{ platform: 'linux', arch: 's390x' }, /linux s390x \((glibc|musl)\)/],
  ] as const) {
    const { code, message } = await load(t, path, system)
    t.is(code, 'ERR_UNSUPPORTED_PLATFORM')
    t.regex(message, new RegExp(`^pocketsocket has no binary for ${words instanceof RegExp ? words.source : words}: `))
    for (const target of ['linux-x64-gnu', 'linux-arm64-musl', 'darwin-arm64', 'win32-x64-msvc']) {
      t.true(message.includes(target), message)
    }
    t.true(message.includes('npm run build'), message)
  }
})

test('node_modules of another platform are told apart from none', async (t) => {
  const { path } = project(t)
  const other = HERE === 'darwin-arm64' ? 'linux-x64-gnu' : 'darwin-arm64'
  addPackage(path, other, '')
  const { code, message } = await load(t, path)
  t.is(code, 'ERR_WRONG_PLATFORM')
  t.true(message.startsWith(`pocketsocket was installed for ${other}, but this is ${process.platform}`), message)
  t.true(message.includes(`pocketsocket-${HERE}`), message)
})

test('a binary of another version is refused', async (t) => {
  const made = project(t)
  made.addPlatform()
  const manifest = join(made.path, 'node_modules/pocketsocket/package.json')
  writeFileSync(manifest, readFileSync(manifest, 'utf8').replace(`"version": "${version}"`, '"version": "9.9.9"'))
  const { code, message } = await load(t, made.path)
  t.is(code, 'ERR_BINARY_VERSION')
  t.true(message.startsWith('pocketsocket is 9.9.9, but its binary '), message)
  t.true(message.includes(` is ${version}. `), message)
})

test('a file that is no binary of this system is named, with the reason of the system', async (t) => {
  const { path } = project(t)
  const file = addPackage(path, HERE, 'not a binary')
  const { code, message } = await load(t, path)
  t.is(code, 'ERR_BINARY_LOAD')
  t.true(message.includes(file), message)
  t.true(message.includes('does not load on'), message)
})

test('POCKETSOCKET_BINARY names a file of the user', async (t) => {
  const made = project(t)
  made.addPlatform()
  const addon = join(made.path, 'mine.node')
  copyFileSync(join(made.path, `node_modules/pocketsocket-${HERE}/pocketsocket.${HERE}.node`), addon)
  rmSync(join(made.path, `node_modules/pocketsocket-${HERE}`), { recursive: true })
  const { code } = await load(t, made.path, {}, { POCKETSOCKET_BINARY: 'mine.node' })
  t.is(code, 'none')
  const missing = await load(t, made.path, {}, { POCKETSOCKET_BINARY: 'other.node' })
  t.is(missing.code, 'ERR_BINARY_LOAD')
  t.true(missing.message.includes(join(made.path, 'other.node')), missing.message)
})

test('the loader knows the platforms that are built', async (t) => {
  const { PLATFORMS } = (await import(new URL('../../lib/platform.js', import.meta.url).href)) as {
    PLATFORMS: string[]
  }
  const words: Record<string, string> = {
    x86_64: 'x64',
    aarch64: 'arm64',
    apple: 'darwin',
    unknown: 'linux',
    pc: 'win32',
  }
  const targets = (napi.targets as string[]).map((target) => {
    const [arch = '', vendor = '', , abi] = target.split('-')
    return [words[vendor], words[arch], ...(abi === undefined ? [] : [abi])].join('-')
  })
  t.deepEqual([...PLATFORMS], targets.sort())
})
