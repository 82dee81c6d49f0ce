// The tools that checks use and users do not: from the Python package index, into a folder of the build, at fixed versions.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))

const folder = join(root, 'build/tools')
const bin = join(folder, process.platform === 'win32' ? 'Scripts' : 'bin')

/** Installs what is missing; gives the environment in which the tools are found. */
export function tools() {
  const wanted = readFileSync(join(root, 'scripts/requirements.txt'), 'utf8')
  const stamp = join(folder, 'installed.txt')
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== wanted) {
    const python = process.platform === 'win32' ? 'python' : 'python3'
    execFileSync(python, ['-m', 'venv', folder], { stdio: 'inherit' })
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check']
    execFileSync(join(bin, 'python'), [...pip, '-r', join(root, 'scripts/requirements.txt')], { stdio: 'inherit' })
    writeFileSync(stamp, wanted)
  }
  return { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}` }
}
