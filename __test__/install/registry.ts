// A registry of the test's own with the packed packages, and users who have nothing but Node.js, npm and that registry.

import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { ROOT } from '../support/child-programs.js'
import { within } from '../support/wait.js'

export const TOOLS = join(ROOT, '__test__/tools/node_modules')

/** A port that nothing listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

const ACCESS = `
storage: ./storage
auth:
  htpasswd:
    file: ./htpasswd
    max_users: -1
uplinks: {}
packages:
  '**':
    access: $all
    publish: $all
log: { type: stdout, format: json, level: warn }
max_body_size: 50mb
`

export class Registry {
  readonly path = mkdtempSync(join(tmpdir(), 'pocketsocket-registry-'))
  /** The published tarballs: the platform's, then the package's. */
  tarballs: string[] = []
  url = ''
  #server: ChildProcess | undefined

  /** Packs, starts the registry and publishes. */
  async start(): Promise<void> {
    const packed = execFileSync(process.execPath, [join(ROOT, 'scripts/pack.mjs'), '--out', join(this.path, 'packed')])
    this.tarballs = packed.toString().trim().split('\n')
    const port = await freePort()
    this.url = `http://127.0.0.1:${port}/`
    writeFileSync(join(this.path, 'config.yaml'), ACCESS)
    const args = [join(TOOLS, 'verdaccio/bin/verdaccio'), '--config', 'config.yaml', '--listen', `127.0.0.1:${port}`]
    // verdaccio needs a newer Node.js than the package does.
    const newer = join(TOOLS, 'node-22/bin/node')
    this.#server = spawn(existsSync(newer) ? newer : process.execPath, args, {
      cwd: this.path,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let told = ''
    this.#server.stderr?.on('data', (text) => {
      told += text
    })
    await within(this.#answers(), 'the registry', 30_000).catch((error) => {
      throw new Error(`${error.message}: ${told}`)
    })
    const publisher = this.user('publisher')
    for (const tarball of this.tarballs) await publisher.run('npm', ['publish', tarball])
  }

  async #answers(): Promise<void> {
    while (this.#server?.exitCode === null) {
      const ok = await fetch(`${this.url}-/ping`).then(
        (answer) => answer.ok,
        () => false,
      )
      if (ok) return
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error('the registry ended')
  }

  /** A user with an empty folder. */
  user(name: string): User {
    return new User(join(this.path, 'users', name), this.url)
  }

  stop(): void {
    this.#server?.kill('SIGKILL')
    rmSync(this.path, { recursive: true, force: true, maxRetries: 5 })
  }
}

export interface Output {
  readonly out: string
  readonly err: string
}

/** Who has Node.js, a shell and package managers, and neither a compiler nor Rust. */
export class User {
  readonly folder: string
  readonly env: NodeJS.ProcessEnv

  constructor(home: string, registry: string) {
    this.folder = join(home, 'project')
    const bin = join(home, 'bin')
    mkdirSync(this.folder, { recursive: true })
    mkdirSync(bin, { recursive: true })
    const npm = realpathSync(execFileSync('which', ['npm'], { encoding: 'utf8' }).trim())
    for (const file of [process.execPath, '/bin/sh', npm, join(dirname(npm), 'npx-cli.js')]) {
      symlinkSync(file, join(bin, basename(file).replace('-cli.js', '')))
    }
    const pnpm = join(TOOLS, 'pnpm/bin/pnpm.mjs')
    writeFileSync(join(bin, 'pnpm'), `#!/bin/sh\nexec node '${pnpm}' "$@"\n`, { mode: 0o755 })
    const { host } = new URL(registry)
    // The registry takes anyone, but npm publishes with a token only.
    writeFileSync(join(home, '.npmrc'), `registry=${registry}\n//${host}/:_authToken=anyone\nupdate-notifier=false\n`)
    this.env = {
      HOME: home,
      PATH: bin,
      XDG_CACHE_HOME: join(home, '.cache'),
      XDG_DATA_HOME: join(home, '.data'),
      CI: '1',
    }
  }

  write(file: string, content: string): void {
    writeFileSync(join(this.folder, file), content)
  }

  /** A command for a program that goes on, with the user's environment and nothing else. */
  command([command = '', ...args]: string[]): string[] {
    return [
      '/usr/bin/env',
      '-i',
      ...Object.entries(this.env).map(([k, v]) => `${k}=${v}`),
      this.#file(command),
      ...args,
    ]
  }

  #file(command: string): string {
    return command.includes('/') ? command : join(this.env.PATH ?? '', command)
  }

  /** Runs a program to its end; what it wrote is in the error, too, if it fails. */
  run(command: string, args: string[]): Promise<Output> {
    return promisify(execFile)(this.#file(command), args, { cwd: this.folder, env: this.env, timeout: 120_000 }).then(
      ({ stdout, stderr }) => ({ out: stdout, err: stderr }),
      (error) => {
        throw new Error(`${command} ${args.join(' ')}: ${error.message}\n${error.stdout}`)
      },
    )
  }
}
