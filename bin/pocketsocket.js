#!/usr/bin/env node
// The program is in the addon, the same one as the bare executable. Node only passes its signals on.
import { createRequire } from 'node:module'

const binding = createRequire(import.meta.url)('../binding.cjs')

const code = binding.cliStart(process.argv.slice(2), performance.now(), () => {
  process.exit(binding.cliExitCode())
})

if (code >= 0) {
  process.exitCode = code
} else {
  let signals = 0
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.on(signal, () => {
      signals += 1
      // Who asks twice does not want to wait.
      if (signals > 1) process.exit(130)
      binding.cliStop()
    })
  }
}
