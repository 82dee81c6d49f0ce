// The main thread never loads the addon: it stays in memory, and the server runs, while workers come and go.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import test from 'ava'
import { fixturePath, ROOT } from './support/child.js'
import { Client } from './support/client.js'
import { within } from './support/wait.js'

test('a server outlives the worker that started it, and its sockets go to the next one', async (t) => {
  const program = spawn(process.execPath, [fixturePath('only-workers')], { cwd: ROOT, stdio: ['pipe', 'pipe', 'pipe'] })
  t.teardown(() => program.kill('SIGKILL'))
  let stderr = ''
  program.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text
  })
  const exited = once(program, 'close')
  const lines = createInterface(program.stdout)[Symbol.asyncIterator]()
  const told = async () => JSON.parse((await within(lines.next(), 'a line')).value as string)
  const { url } = await told()
  const client = await Client.connect(url)
  client.send('one')
  const first = (await client.text()).split(':')[0]
  program.stdin.write('end the first worker\n')
  await told()
  // What is sent meanwhile waits for the next.
  for (let n = 0; n < 100; n++) client.send(String(n))
  t.is((await fetch(url)).status, 200)
  program.stdin.write('start the second\n')
  const second = String((await told()).second)
  t.not(second, first)
  for (let n = 0; n < 100; n++) t.is(await client.text(), `${second}:${n}`)
  // The second worker is kept by its hook alone, and the process by the worker.
  program.kill('SIGUSR2')
  const [code, signal] = await within(exited, 'the end of the process')
  t.deepEqual([code, signal, stderr], [0, null, ''])
})
