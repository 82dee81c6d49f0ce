// The standalone server's two executables: npm's bin, and the bare one.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import { Executable } from './child-executable.js'

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** npm's bin, as a command. */
export const NPM_BIN = [process.execPath, join(ROOT, 'bin/pocketsocket.js')]

const BARE = join(
  process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'),
  `debug/pocketsocket${process.platform === 'win32' ? '.exe' : ''}`,
)

/** The bare executable as a command, built if it is missing or older than its sources; null if it cannot be. */
export async function bareExecutable(): Promise<string[] | null> {
  if (isFresh()) return [BARE]
  const args = ['build', '--quiet', '--locked', '-p', 'pocketsocket-cli']
  const cargo = spawn('cargo', args, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] })
  // Without a cargo there is an error.
  const [code] = await once(cargo, 'close').catch(() => [1])
  return code === 0 ? [BARE] : null
}

function isFresh(): boolean {
  if (!existsSync(BARE)) return false
  const built = statSync(BARE).mtimeMs
  return ['pocketsocket', 'pocketsocket-cli'].every((crate) => {
    const sources = join(ROOT, 'crates', crate, 'src')
    return readdirSync(sources).every((file) => statSync(join(sources, file)).mtimeMs < built)
  })
}

/** A standalone server that accepts, with what it told so far. */
export interface Serving {
  readonly program: Executable
  readonly told: string[]
  readonly url: string
}

/** Starts a standalone server on a free port, or on the one among `args`. */
export async function serve(
  t: ExecutionContext,
  cwd: string,
  args: string[] = [],
  command: string[] = NPM_BIN,
): Promise<Serving> {
  const program = new Executable(t, [...command, '--run', '--port', '0', ...args], { cwd })
  const told: string[] = []
  do told.push(await program.line())
  while (!told.at(-1)?.startsWith('TTL: '))
  const serving = told.find((line) => line.startsWith('Serving on '))
  return { program, told, url: serving?.slice('Serving on '.length) ?? '' }
}

/** A running example, with where it listens. */
export interface Example {
  readonly program: Executable
  readonly url: string
}

/** Runs an example on a free port, compiled or as its source. */
export async function runExample(
  t: ExecutionContext,
  name: string,
  asSource = false,
  more: NodeJS.ProcessEnv = {},
): Promise<Example> {
  if (name.startsWith('chat/')) copyChatPage()
  const file = asSource ? `examples/${name}.ts` : `build/examples/${name}.js`
  const program = new Executable(t, [process.execPath, file], {
    cwd: ROOT,
    // The examples that block do not know their port: the log tells it.
    env: { PORT: '0', POCKETSOCKET_LOG: 'info', ...more },
  })
  let address: string | undefined
  do address = / listening on (\S+)/.exec(await program.errorLine())?.[1]
  while (address === undefined)
  return { program, url: `http://${address}` }
}

/** The chat's page lies beside its program. Put there in one step: tests of other processes may be reading it. */
function copyChatPage(): void {
  const page = 'examples/chat/templates/index.html'
  const copy = join(ROOT, 'build', page)
  mkdirSync(join(copy, '..'), { recursive: true })
  copyFileSync(join(ROOT, page), `${copy}.${process.pid}`)
  renameSync(`${copy}.${process.pid}`, copy)
}
