// Programs as users run them: any executable, in any folder, seen by its output, its exit code and its signals.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { ExecutionContext } from 'ava'
import { Queue, within } from './wait.js'

/** How a program ended, with all that it wrote. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

/** A folder of its own, gone after the test; with these files in it. */
export function folder(t: ExecutionContext, files: Record<string, string> = {}): string {
  const path = mkdtempSync(join(tmpdir(), 'pocketsocket-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), content)
  }
  return path
}

/** A running program; killed after the test, if it still runs. */
export class Executable {
  readonly #process: ChildProcess
  readonly #out = new Queue<string>()
  readonly #err = new Queue<string>()
  readonly #ended: Promise<Ended>
  #written = { out: '', err: '' }

  constructor(t: ExecutionContext, command: string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}) {
    const [file = '', ...args] = command
    const { POCKETSOCKET_LOG: _, ...env } = process.env
    const child = spawn(file, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      env: { ...env, ...options.env },
    })
    this.#process = child
    // "close", not "exit": all output is read by then.
    const closed = once(child, 'close')
    t.teardown(async () => {
      child.kill('SIGKILL')
      // What could not be started has no "close".
      await this.#ended.catch(() => {})
    })
    for (const [name, lines] of [
      ['out', this.#out],
      ['err', this.#err],
    ] as const) {
      const stream = name === 'out' ? child.stdout : child.stderr
      stream.setEncoding('utf8').on('data', (text) => {
        this.#written[name] += text
      })
      createInterface(stream).on('line', (line) => lines.push(line))
    }
    this.#ended = closed.then(([code, signal]) => ({ code, signal, ...this.#written }))
    this.#ended.catch(() => {})
  }

  /** The next line of standard output. */
  line(): Promise<string> {
    return this.#next(this.#out)
  }

  /** The next line of standard error. */
  errorLine(): Promise<string> {
    return this.#next(this.#err)
  }

  async lines(count: number): Promise<string[]> {
    const lines = []
    for (let n = 0; n < count; n++) lines.push(await this.line())
    return lines
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }

  end(): Promise<Ended> {
    return within(this.#ended, 'the end of the program')
  }

  #next(lines: Queue<string>): Promise<string> {
    // A line that is there already is taken first, and none comes after the end.
    const ended = this.#ended.then(({ code, signal, out, err }) => {
      throw new Error(`ended with ${signal ?? code} instead of writing a line:\n${out}${err}`)
    })
    return Promise.race([lines.next('a line'), ended])
  }
}

/** Runs a program to its end. */
export function run(
  t: ExecutionContext,
  command: string[],
  options?: { cwd?: string; env?: NodeJS.ProcessEnv },
): Promise<Ended> {
  return new Executable(t, command, options).end()
}
