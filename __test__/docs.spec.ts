// The documentation: its programs compile and run, what it quotes is what the code says, its links lead somewhere.

import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import { Executable, folder, run } from './support/child-executable.js'
import { ROOT } from './support/child-programs.js'
import { Client } from './support/client.js'
import { handshake } from './support/http.js'
import { lacks } from './support/skip.js'

const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((f) => f.endsWith('.md'))
    .map((f) => `docs/${f}`),
]
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')

/** Programs of the documentation: a block that begins with three backticks and `ts run`. */
const PROGRAMS = PAGES.flatMap((page) =>
  [...read(page).matchAll(/```ts run\n([\s\S]*?)```/g)].map((match, index) => ({
    name: `${page} ${index + 1}`,
    source: match[1] ?? '',
  })),
)

/** What the package exports by name. */
const NAMES = [...read('index.d.ts').matchAll(/^export declare (?:function|const|class) (\w+)/gm)]
  .map((match) => match[1] ?? '')
  .filter((name, index, all) => all.indexOf(name) === index)

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Connects as soon as something listens. */
async function connect(t: ExecutionContext, url: string, options = {}): Promise<Client> {
  const end = performance.now() + 15_000
  for (;;) {
    try {
      const client = await Client.connect(url, options)
      t.teardown(() => client.terminate())
      return client
    } catch (error) {
      if (performance.now() > end) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

/** A program of the documentation, running on a port of its own. */
async function start(t: ExecutionContext, name: string): Promise<{ port: number; http: number }> {
  const { source = '' } = PROGRAMS.find((program) => program.name === name) ?? {}
  const [port, http] = [await freePort(), await freePort()]
  const path = folder(t, { 'program.mjs': '' })
  const placed = source.replaceAll('8090', String(port)).replaceAll('8080', String(http))
  const { default: typescript } = await import('typescript')
  const compiled = typescript.transpileModule(placed, { compilerOptions: { module: 99, target: 9 } })
  writeFileSync(join(path, 'program.mjs'), compiled.outputText)
  mkdirSync(join(path, 'node_modules'))
  symlinkSync(ROOT, join(path, 'node_modules/pocketsocket'), 'junction')
  new Executable(t, [process.execPath, 'program.mjs'], { cwd: path })
  return { port, http }
}

/** The examples of the doc comments, with what they take for granted. */
const EXAMPLES = [...read('index.d.ts').matchAll(/@example\n \* ```ts\n([\s\S]*?) \* ```/g)].map((match) => {
  const source = (match[1] ?? '').replace(/^ \* ?/gm, '')
  const given = 'declare const uuid: string, uuids: string[], frame: Uint8Array, event: TextEvent\n'
  return source.includes('import ')
    ? source
    : `import { ${NAMES.join(', ')}, type TextEvent } from 'pocketsocket'\n${given}${source}`
})

test('every program of the documentation compiles, strictly', async (t) => {
  t.true(PROGRAMS.length >= 4)
  t.true(EXAMPLES.length >= 15)
  const path = join(ROOT, 'build/documentation')
  rmSync(path, { recursive: true, force: true })
  mkdirSync(path, { recursive: true })
  PROGRAMS.forEach(({ source }, index) => {
    writeFileSync(join(path, `program-${index}.mts`), source)
  })
  EXAMPLES.forEach((source, index) => {
    writeFileSync(join(path, `example-${index}.mts`), source)
  })
  writeFileSync(
    join(path, 'tsconfig.json'),
    JSON.stringify({
      extends: '../../tsconfig.json',
      compilerOptions: { noEmit: true, declaration: false, paths: { pocketsocket: ['../../index.d.ts'] } },
      include: ['*.mts'],
      files: [],
    }),
  )
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc')
  const { code, out } = await run(t, [process.execPath, compiler, '-p', path, '--pretty', 'false'])
  t.is(out, '')
  t.is(code, 0)
})

test('migration: names of sockets are kept by uuid', async (t) => {
  const { port } = await start(t, 'docs/migration.md 1')
  const ada = await connect(t, `http://127.0.0.1:${port}/?name=Ada`)
  t.is(await ada.text(), 'Howdy Ada')
  const bob = await connect(t, `http://127.0.0.1:${port}/?name=Bob`)
  t.is(await bob.text(), 'Howdy Bob')
  bob.send('hello')
  t.is(await ada.text(), 'Bob: hello')
})

test('migration: a room hears all but the sender', async (t) => {
  const { port } = await start(t, 'docs/migration.md 2')
  const [ada, bob, eve] = [
    await connect(t, `http://127.0.0.1:${port}/`),
    await connect(t, `http://127.0.0.1:${port}/`),
    await connect(t, `http://127.0.0.1:${port}/cellar`),
  ]
  ada.send('one')
  t.is(await bob.text(), 'one')
  eve.send('two')
  t.is(await ada.text(), 'two')
  t.is(eve.left, 0)
})

test('deployment: an HTTP server beside it, and nginx and Caddy in front of both', async (t) => {
  const { port, http } = await start(t, 'docs/deployment.md 1')
  const direct = await connect(t, `http://127.0.0.1:${port}/ws/`)
  direct.send('direct')
  t.is(await direct.text(), 'direct')
  t.is(await (await fetch(`http://127.0.0.1:${http}/page`)).text(), 'You asked for /page')

  const block = (language: string) =>
    new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(read('docs/deployment.md'))?.[1] ?? ''
  const placed = (text: string) => text.replaceAll('8090', String(port)).replaceAll('8080', String(http))
  const front = async (name: string, listen: number) => {
    const client = await connect(t, `http://127.0.0.1:${listen}/ws/chat`)
    client.send(`through ${name}`)
    t.is(await client.text(), `through ${name}`)
    t.is(await (await fetch(`http://127.0.0.1:${listen}/page`)).text(), 'You asked for /page')
  }

  if (!lacks(t, has('nginx'), 'nginx')) {
    const listen = await freePort()
    const path = folder(t, {
      'nginx.conf': `daemon off; master_process off; pid nginx.pid; error_log stderr;
        events {} http { access_log off; client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp;
        uwsgi_temp_path tmp; scgi_temp_path tmp; ${placed(block('nginx')).replace('listen 8000', `listen 127.0.0.1:${listen}`)} }`,
    })
    background(t, 'nginx', ['-p', path, '-c', join(path, 'nginx.conf')], path)
    await front('nginx', listen)
  }
  if (!lacks(t, has('caddy'), 'Caddy')) {
    const listen = await freePort()
    const path = folder(t, {
      Caddyfile: `{\n admin off\n auto_https off\n}\n${placed(block('txt')).replace('example.com', `http://127.0.0.1:${listen}`)}`,
    })
    background(t, 'caddy', ['run', '--config', join(path, 'Caddyfile')], path)
    await front('Caddy', listen)
  }
})

test('deployment: the client that reconnects gets through again', async (t) => {
  const partysocket = join(ROOT, '__test__/tools/node_modules/partysocket')
  // Installed by `npm run test:install`, which CI runs first or not at all: then it is installed here.
  if (!existsSync(partysocket)) execFileSync(process.execPath, [join(ROOT, 'scripts/install-tools.mjs')])
  const port = await freePort()
  const server = `
    import { hook, runServer, send } from 'pocketsocket'
    hook((uuid, eventType, event) => { send(uuid, eventType, event) })
    runServer('127.0.0.1', ${port})`
  const path = folder(t, { 'program.mjs': server })
  mkdirSync(join(path, 'node_modules'))
  symlinkSync(ROOT, join(path, 'node_modules/pocketsocket'), 'junction')
  symlinkSync(partysocket, join(path, 'node_modules/partysocket'), 'junction')
  const shown = /```js\n([\s\S]*?)```/.exec(read('docs/deployment.md'))?.[1] ?? ''
  // Node.js 20 has no WebSocket of its own: npm's ws stands for the browser's.
  writeFileSync(
    join(path, 'client.mjs'),
    `import { WebSocket as Browser } from ${JSON.stringify(pathToFileURL(join(ROOT, 'node_modules/ws/wrapper.mjs')).href)}
    globalThis.WebSocket ??= Browser
    ${shown.replace('8090', String(port)).replace("import { WebSocket } from 'partysocket'", "const { WebSocket } = await import('partysocket')")}
    socket.addEventListener('open', () => socket.send('opened'))`,
  )
  const first = new Executable(t, [process.execPath, 'program.mjs'], { cwd: path })
  await connect(t, `http://127.0.0.1:${port}/`)
  const client = new Executable(t, [process.execPath, 'client.mjs'], { cwd: path })
  t.is(await client.line(), 'opened')
  first.signal('SIGKILL')
  await first.end()
  new Executable(t, [process.execPath, 'program.mjs'], { cwd: path })
  t.is(await client.line(), 'opened')
})

test('deployment: who has logged in is greeted by name, and who has not gets 401', async (t) => {
  const { port } = await start(t, 'docs/deployment.md 2')
  const ada = await connect(t, `http://127.0.0.1:${port}/`, { headers: { cookie: 'a=b; session=s3cret' } })
  t.is(await ada.text(), 'Hello ada')
  const { status, body } = await handshake(`http://127.0.0.1:${port}/`, { cookie: 'session=guess' })
  t.is(status, 401)
  t.is(body, 'log in first')
})

test('deployment: the echo that waits for Drain loses nothing of what a slow reader asked for', async (t) => {
  const { port } = await start(t, 'docs/deployment.md 3')
  const client = await connect(t, `http://127.0.0.1:${port}/`)
  const text = 'x'.repeat(512 * 1024)
  client.socket.pause()
  for (let n = 0; n < 40; n++) client.send(`${n} ${text}`)
  client.socket.resume()
  for (let n = 0; n < 40; n++) t.true((await client.text()).startsWith(`${n} `))
})

function has(program: string): boolean {
  try {
    execFileSync(program, ['version'], { stdio: 'ignore' })
    return true
  } catch (error) {
    // nginx knows no such command, but it is there.
    return (error as NodeJS.ErrnoException).code !== 'ENOENT'
  }
}

function background(t: ExecutionContext, program: string, args: string[], cwd: string): void {
  const child = spawn(program, args, { cwd, stdio: 'ignore', env: { ...process.env, HOME: cwd } })
  t.teardown(() => {
    child.kill('SIGKILL')
  })
}

test('every error that troubleshooting quotes is what the code says', (t) => {
  const sources = [
    'lib/platform.ts',
    'lib/checks.ts',
    'crates/pocketsocket/src/error.rs',
    'crates/pocketsocket-node/src/bridge.rs',
  ]
  // As one line: strings of the sources go on after a backslash.
  const code = sources
    .map(read)
    .join('\n')
    .replace(/\\\n\s*/g, '')
    .replace(/\s+/g, ' ')
  const quoted = [...read('docs/troubleshooting.md').matchAll(/^### `(.+)`$/gm)].map((match) => match[1] ?? '')
  t.true(quoted.length > 8)
  for (const text of quoted) {
    // What stands for a value: …
    for (const part of text.split('…')) t.true(code.includes(part.trim()), `not in the code: ${part}`)
  }
})

test('links of the documentation lead to files and headings', (t) => {
  const anchors = (file: string) =>
    [...read(file).matchAll(/^#+ (.*)$/gm)].map((match) =>
      (match[1] ?? '')
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    )
  for (const page of PAGES) {
    for (const [, link = ''] of read(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link)) continue
      const [path = '', anchor] = link.split('#')
      const file = path === '' ? page : join(dirname(page), path)
      t.true(existsSync(join(ROOT, file)), `${page}: ${link}`)
      if (anchor !== undefined && file.endsWith('.md')) t.true(anchors(file).includes(anchor), `${page}: ${link}`)
    }
  }
})
