#!/usr/bin/env node
// The program is in the addon, the same one as the bare executable. Node only passes its signals on.
import { binding } from '../lib/binding.js'

let signals = 0
// Before the start: whoever reads that it serves may stop it at once.
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    signals += 1
    // Who asks twice does not want to wait.
    if (signals > 1) process.exit(130)
    binding.cliStop()
  })
}

const code = binding.cliStart(process.argv.slice(2), performance.now(), () => {
  process.exit(binding.cliExitCode())
})
if (code >= 0) process.exitCode = code
