// Programs of their own: what a whole process does can only be seen from outside.
//
// A fixture tells of itself in lines of JSON on standard output. There is no IPC channel, which would keep it alive.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import { Queue, within } from './wait.js'

/** The repository: where `pocketsocket` resolves to the package itself. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stderr: string
}

export class Program {
  readonly process: ChildProcess
  readonly #lines = new Queue<string>()
  readonly #exit: Promise<Exit>
  stderr = ''

  constructor(t: ExecutionContext, args: string[], env: NodeJS.ProcessEnv = {}) {
    this.process = spawn(process.execPath, args, {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    })
    t.teardown(() => {
      this.process.kill('SIGKILL')
    })
    this.process.stderr?.setEncoding('utf8').on('data', (text) => {
      this.stderr += text
    })
    if (this.process.stdout) createInterface(this.process.stdout).on('line', (line) => this.#lines.push(line))
    this.#exit = once(this.process, 'close').then(([code, signal]) => ({ code, signal, stderr: this.stderr }))
  }

  /** The next line that it wrote. */
  async line(ms?: number): Promise<string> {
    const ended = this.#exit.then(async ({ code, signal, stderr }) => {
      // What it wrote before its end counts.
      if (this.#lines.left > 0) return this.#lines.next('a line')
      throw new Error(`it ended with ${signal ?? code} instead of writing a line: ${stderr}`)
    })
    return Promise.race([this.#lines.next('a line', ms), ended])
  }

  /** The next line, which is JSON. */
  async told<T = Record<string, unknown>>(ms?: number): Promise<T> {
    return JSON.parse(await this.line(ms)) as T
  }

  exit(ms?: number): Promise<Exit> {
    return within(this.#exit, 'the end of the process', ms)
  }
}

/** Runs `__test__/fixtures/<name>.ts`. */
export function fixture(t: ExecutionContext, name: string, args: string[] = [], env?: NodeJS.ProcessEnv): Program {
  return new Program(t, [fixturePath(name), ...args], env)
}

export function fixturePath(name: string): string {
  return fileURLToPath(new URL(`../fixtures/${name}.js`, import.meta.url))
}
