// The packed package, as a project of a user's sees it: its files, its types, and that it loads.

import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { type Ended, run } from './support/child-executable.js'
import { ROOT } from './support/child-programs.js'
import { installPacked, type Project } from './support/pack-tarball.js'

let project: Project

test.before(() => {
  project = installPacked()
  cpSync(join(ROOT, '__test__/types'), project.path, { recursive: true })
  cpSync(join(ROOT, 'examples'), join(project.path, 'examples'), { recursive: true })
})

test.after.always(() => project?.remove())

function tsc(t: ExecutionContext, ...args: string[]): Promise<Ended> {
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc')
  return run(t, [process.execPath, compiler, '--pretty', 'false', ...args], { cwd: project.path })
}

function node(t: ExecutionContext, ...args: string[]): Promise<Ended> {
  return run(t, [process.execPath, ...args], { cwd: project.path })
}

test('the tarball has what users need, and nothing else', (t) => {
  const lib = readdirSync(join(ROOT, 'lib'))
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
    .map((file) => `lib/${file.replace(/\.ts$/, '.js')}`)
  const texts = ['CHANGELOG.md', 'LICENSE', 'README.md'].filter((file) => existsSync(join(ROOT, file)))
  const program = ['bin/pocketsocket.js', 'index.d.ts', 'index.js', 'package.json']
  t.deepEqual(project.files, [...texts, ...program, ...lib].sort())
})

test('the repository lists no platform package: publishing adds them', (t) => {
  const { napi, version, optionalDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  t.is(optionalDependencies, undefined)
  const platforms = readdirSync(join(ROOT, 'npm'))
  t.is(platforms.length, napi.targets.length)
  for (const platform of platforms) {
    const manifest = JSON.parse(readFileSync(join(ROOT, 'npm', platform, 'package.json'), 'utf8'))
    const [os = '', cpu = '', abi] = platform.split('-')
    const libc = { gnu: ['glibc'], musl: ['musl'] }[abi ?? '']
    t.like(manifest, { name: `pocketsocket-${platform}`, version, license: 'MIT', os: [os], cpu: [cpu] })
    t.deepEqual(manifest.libc, libc)
    t.deepEqual([manifest.main], manifest.files)
    t.is(manifest.main, `pocketsocket.${platform}.node`)
    t.true(existsSync(join(ROOT, 'npm', platform, 'README.md')))
  }
})

for (const resolution of ['nodenext', 'node16', 'bundler']) {
  // One after the other: each keeps a core busy.
  test.serial(`types and examples compile with ${resolution}`, async (t) => {
    const { code, out } = await tsc(t, '-p', `tsconfig.${resolution}.json`)
    t.is(out, '')
    t.is(code, 0)
  })
}

test.serial('each wrong use is an error', async (t) => {
  const source = readFileSync(join(ROOT, '__test__/types/wrong.ts'), 'utf8')
  const marks = source.split('@ts-expect-error').length - 1
  t.true(marks > 10)
  // Without the marks the errors show: the compiler that found no fault above does find some.
  const config = JSON.parse(readFileSync(join(ROOT, '__test__/types/tsconfig.node16.json'), 'utf8'))
  writeFileSync(join(project.path, 'unmarked.mts'), source.replaceAll('@ts-expect-error', ''))
  writeFileSync(
    join(project.path, 'tsconfig.unmarked.json'),
    JSON.stringify({ ...config, include: [], files: ['unmarked.mts'] }),
  )
  const { code, out } = await tsc(t, '-p', 'tsconfig.unmarked.json')
  t.not(code, 0)
  const errors = out.match(/^unmarked\.mts\(\d+,\d+\): error TS\d+/gm) ?? []
  t.is(errors.length, marks, out)
})

test.serial('it loads with import and with require, as one copy, with the package of its platform', async (t) => {
  project.addPlatform()
  const use = `
    const server = pocketsocket.runServer('127.0.0.1', 0)
    const answer = await fetch(server.url + '/health')
    console.log(await answer.text(), hook === pocketsocket.hook, EventType.Close)
    await server.close()`
  const imported = await node(
    t,
    '--input-type=module',
    '-e',
    `import pocketsocket, { EventType, hook } from 'pocketsocket'
    import { createRequire } from 'node:module'
    if (createRequire(process.cwd() + '/x.js')('pocketsocket').default !== pocketsocket) throw new Error('two copies')
    ${use}`,
  )
  t.like(imported, { code: 0, out: 'ok\n true 3\n' }, imported.err)
  const required = await node(
    t,
    '--input-type=commonjs',
    '-e',
    `const { default: pocketsocket, EventType, hook } = require('pocketsocket')
    void (async () => { ${use} })()`,
  )
  t.like(required, { code: 0, out: 'ok\n true 3\n' }, required.err)
  // TypeScript's own way into CommonJS.
  const compiled = await tsc(t, '-p', 'tsconfig.commonjs.json')
  t.like(compiled, { code: 0, out: '' }, compiled.out)
  const run = await node(t, 'out/commonjs.cjs')
  t.is(run.code, 0, run.err)
  t.regex(run.out, /^http:\/\/127\.0\.0\.1:\d+\n$/)
  // And the program.
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const program = await node(t, 'node_modules/pocketsocket/bin/pocketsocket.js', '--version')
  t.like(program, { code: 0, out: `pocketsocket ${version}\n`, err: '' })
})
