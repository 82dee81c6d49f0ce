// The standalone server from npm's bin: what it tells, what it relays, how it ends; and that the bare executable, which is
// tested in Rust, does the same.

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { folder, run } from './support/child-executable.js'
import { bareExecutable, NPM_BIN, ROOT, serve } from './support/child-programs.js'
import { Client } from './support/client.js'
import { RawClient } from './support/raw.js'
import { lacks } from './support/skip.js'

const TTL = /^TTL: (\d+ (second|millisecond|microsecond|nanosecond)s?(,? and |, |$))+$/
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

async function connect(t: ExecutionContext, url: string, path = '/'): Promise<Client> {
  const client = await Client.connect(url + path)
  t.teardown(() => client.terminate())
  return client
}

/** A port that something else listens on. */
async function takenPort(t: ExecutionContext): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return String((server.address() as AddressInfo).port)
}

test('it tells its page, its URL and the time it took', async (t) => {
  const { program, told, url } = await serve(t, folder(t))
  t.deepEqual(told.slice(0, 3), ['Run', 'Template: built-in page', `Serving on ${url}`])
  t.regex(url, /^http:\/\/127\.0\.0\.1:[1-9]\d*$/)
  t.is(told.length, 4)
  t.regex(told[3] ?? '', TTL)
  const page = await fetch(`${url}/any/path`)
  t.is(page.status, 200)
  t.regex(await page.text(), /<title>pocketsocket<\/title>/)
  program.signal('SIGTERM')
  const { code, out, err } = await program.end()
  t.is(code, 0)
  t.deepEqual(out.split('\n').slice(4), ['Draining 0 sockets', 'Stopped', ''])
  t.is(err, '')
})

test('it discovers templates/index.html, then index.html', async (t) => {
  const page = '<!doctype html>é'
  const { told, url } = await serve(t, folder(t, { 'templates/index.html': page, 'index.html': 'other' }))
  const path = join('.', 'templates', 'index.html')
  t.deepEqual(told.slice(1, 3), [`Discovering: ./${path}`, `Template Set. Length: ${Buffer.byteLength(page)}`])
  t.is(await (await fetch(url)).text(), page)

  const second = await serve(t, folder(t, { 'index.html': 'here' }))
  t.deepEqual(second.told.slice(1, 3), ['Discovering: ./index.html', 'Template Set. Length: 4'])
  t.is(await (await fetch(second.url)).text(), 'here')
})

test('--template is served in place of what is found', async (t) => {
  const cwd = folder(t, { 'index.html': 'other', 'pages/chat.html': 'chat' })
  const { told, url } = await serve(t, cwd, ['--template', 'pages/chat.html'])
  t.deepEqual(told.slice(1, 3), ['Template: pages/chat.html', 'Template Set. Length: 4'])
  t.is(await (await fetch(url)).text(), 'chat')
})

test('--broadcast relays to all but the sender', async (t) => {
  const { url } = await serve(t, folder(t), ['--broadcast'])
  const ada = await connect(t, url)
  const bob = await connect(t, url, '/ws/')
  ada.send('to you')
  t.is(await bob.text(), 'to you')
  bob.send(Buffer.from([0, 255]))
  // What Ada sent would have come back before.
  t.deepEqual(await ada.receive(), { data: Buffer.from([0, 255]), binary: true })
  t.is(bob.left, 0)
})

test('--print tells each event in a line that cannot steer a terminal', async (t) => {
  const { program, url } = await serve(t, folder(t), ['--print'])
  const client = await connect(t, url, '/ws/?room=1')
  client.send('a\u001b[2J\nb\\é')
  client.send(Buffer.from([1, 2, 3]))
  await client.close(1000, 'bye\r\n')
  const lines = await program.lines(4)
  const uuid = lines[0]?.split(' ')[0] ?? ''
  t.regex(uuid, UUID)
  t.deepEqual(lines, [
    `${uuid} connect 127.0.0.1 /ws/?room=1`,
    `${uuid} text 10 a\\u{1b}[2J\\nb\\\\é`,
    `${uuid} binary 3`,
    `${uuid} close 1000 bye\\r\\n`,
  ])
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`${signal} closes every socket with 1001 and ends with 0`, async (t) => {
    const { program, url } = await serve(t, folder(t))
    const clients = [await connect(t, url), await connect(t, url)]
    program.signal(signal)
    t.is(await program.line(), 'Draining 2 sockets')
    for (const client of clients) t.is((await client.closed).code, 1001)
    t.is(await program.line(), 'Stopped')
    const { code, err } = await program.end()
    t.is(code, 0)
    t.is(err, '')
  })
}

test('the second signal does not wait', async (t) => {
  const { program, url } = await serve(t, folder(t))
  // It never answers the Close, so that the server would wait for it.
  const silent = await RawClient.upgrade(Number(new URL(url).port))
  t.teardown(() => silent.destroy())
  program.signal('SIGINT')
  t.is(await program.line(), 'Draining 1 socket')
  program.signal('SIGTERM')
  const { code, out } = await program.end()
  t.is(code, 130)
  t.false(out.includes('Stopped'))
})

test('whoever reads that it serves may stop it at once', async (t) => {
  const cwd = folder(t)
  for (let n = 0; n < 10; n++) {
    const { program } = await serve(t, cwd)
    program.signal('SIGTERM')
    t.like(await program.end(), { code: 0, signal: null })
  }
})

/** Exactly one line on standard error. */
async function onlyError(
  t: ExecutionContext,
  args: string[],
  cwd = folder(t),
): Promise<{ code: number | null; line: string }> {
  const { code, err } = await run(t, [...NPM_BIN, ...args], { cwd })
  t.regex(err, /^pocketsocket: [^\n]+\n$/)
  return { code, line: err.slice('pocketsocket: '.length, -1) }
}

test('a taken port is one line and exit code 1', async (t) => {
  const port = await takenPort(t)
  const { code, line } = await onlyError(t, ['--run', '--port', port])
  t.is(code, 1)
  t.true(line.startsWith(`127.0.0.1:${port} is taken`), line)
})

test('a missing template is one line and exit code 1', async (t) => {
  // A page lies there, but it is not the one that was asked for.
  const cwd = folder(t, { 'index.html': 'other' })
  const { code, line } = await onlyError(t, ['--run', '--port', '0', '--template', 'missing.html'], cwd)
  t.is(code, 1)
  t.true(line.startsWith("template 'missing.html' cannot be read: "), line)
})

test('wrong arguments are one line and exit code 2', async (t) => {
  for (const [args, expected] of [
    [['--run', '--verbose'], "invalid option '--verbose'"],
    [['--run', '--port=x'], "port 'x' is not a number from 0 to 65535"],
    [['--run', '--address'], "missing argument for option '--address'"],
    [['run'], 'unexpected argument "run"'],
  ] as const) {
    t.deepEqual(await onlyError(t, [...args]), { code: 2, line: `${expected} (see 'pocketsocket --help')` })
  }
})

test('without --run nothing starts, and the usage is told', async (t) => {
  const { code, out, err } = await run(t, NPM_BIN)
  t.deepEqual([code, out], [2, ''])
  t.true(err.startsWith('pocketsocket: --run starts the server\nusage: pocketsocket --run '), err)
})

test('--help and --version', async (t) => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  for (const flag of ['--version', '-V']) {
    t.like(await run(t, [...NPM_BIN, flag]), { code: 0, out: `pocketsocket ${version}\n`, err: '' })
  }
  const help = readFileSync(join(ROOT, 'crates/pocketsocket-cli/src/help.txt'), 'utf8')
  for (const flag of ['--help', '-h']) t.like(await run(t, [...NPM_BIN, flag]), { code: 0, out: help, err: '' })
})

test('the bare executable tells and ends the same', async (t) => {
  t.timeout(600_000, 'cargo may have to build')
  const bare = await bareExecutable()
  if (lacks(t, bare !== null, 'cargo, which builds the bare executable') || bare === null) return
  const cwd = folder(t, { 'index.html': 'here' })
  const port = await takenPort(t)
  for (const args of [
    [],
    ['--print'],
    ['--help'],
    ['--version'],
    ['--run', '--verbose'],
    ['--run', '--port=99999'],
    ['--run', '--template', 'missing\n.html'],
    ['--run', '--port', port],
    ['--run', '--address', 'not an address'],
  ]) {
    t.deepEqual(await run(t, [...NPM_BIN, ...args], { cwd }), await run(t, [...bare, ...args], { cwd }), args.join(' '))
  }
  // A whole life, with a client in it.
  const life = async (command: string[]) => {
    const { program, url } = await serve(t, cwd, ['--broadcast', '--print', '--address', 'localhost'], command)
    const client = await connect(t, url, '/?a=1')
    const printed = [await program.line()]
    client.send('hello')
    printed.push(await program.line())
    program.signal('SIGINT')
    const closed = await client.closed
    const { code, signal, out, err } = await program.end()
    const uuid = printed[0]?.split(' ')[0] ?? ''
    // Two threads write: the one that prints events, and the one that tells of the end.
    const words = out
      .replaceAll(url, 'URL')
      .replaceAll(uuid, 'UUID')
      .replace(/TTL: .*/, 'TTL')
      .trimEnd()
      .split('\n')
    return { words: [...words.slice(0, 7), ...words.slice(7).sort()], code, signal, err, closed }
  }
  const npm = await life(NPM_BIN)
  t.deepEqual(npm, await life(bare))
  t.deepEqual(npm.words, [
    'Run',
    'Discovering: ./index.html',
    'Template Set. Length: 4',
    'Serving on URL',
    'TTL',
    'UUID connect 127.0.0.1 /?a=1',
    'UUID text 5 hello',
    'Draining 1 socket',
    'Stopped',
    'UUID close 1001 server shutdown',
  ])
})

test('bash loads its completions, and completes options with them', async (t) => {
  if (lacks(t, process.platform !== 'win32', 'bash')) return
  const { code, out } = await run(t, [...NPM_BIN, '--completions', 'bash'])
  t.is(code, 0)
  const asked = `${out}
    _pocketsocket pocketsocket --broa pocketsocket; echo "\${COMPREPLY[*]}"
    _pocketsocket pocketsocket '' --completions; echo "\${COMPREPLY[*]}"
    complete -p pocketsocket`
  const shell = await run(t, ['bash', '--norc', '-euc', asked])
  t.is(shell.err, '')
  t.is(shell.out, '--broadcast\nbash zsh fish\ncomplete -F _pocketsocket pocketsocket\n')
  for (const other of ['zsh', 'fish']) {
    t.true((await run(t, [...NPM_BIN, '--completions', other])).out.includes('broadcast'))
  }
})
