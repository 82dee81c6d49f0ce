// What the scripts of this folder share.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const children = []
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})

/** A program of this folder as a process; `ask` sends an order and gives the answer. */
export function program(name, env = {}) {
  const child = fork(fileURLToPath(new URL(`${name}.mjs`, import.meta.url)), { env: { ...process.env, ...env } })
  children.push(child)
  return {
    child,
    async ask(order) {
      const answer = once(child, 'message')
      child.send(order)
      const [told] = await answer
      if (told.error) throw new Error(`${name}: ${told.error}`)
      return told
    },
  }
}

export const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]
