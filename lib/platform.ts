// Which binary this process needs, and what is said when it is not there.

import { readFileSync } from 'node:fs'

/** The platforms that have a package, each `pocketsocket-<platform>`; a test holds them to `napi.targets`. */
export const PLATFORMS = [
  'darwin-arm64',
  'darwin-x64',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'linux-x64-gnu',
  'linux-x64-musl',
  'win32-arm64-msvc',
  'win32-x64-msvc',
]

/** What the process runs on, as in a package's name. */
export function platform(): string {
  const { arch, platform: system } = process
  if (system === 'linux') return `linux-${arch}-${libc() === 'musl' ? 'musl' : 'gnu'}`
  if (system === 'win32') return `win32-${arch}-msvc`
  return `${system}-${arch}`
}

/** The C library of a Linux system, which Node.js does not tell directly. */
function libc(): 'glibc' | 'musl' {
  try {
    // The script of both, and quicker than a report.
    return readFileSync('/usr/bin/ldd', 'latin1').includes('musl') ? 'musl' : 'glibc'
  } catch {
    const report = process.report as (NodeJS.ProcessReport & { excludeNetwork?: boolean }) | undefined
    if (report === undefined) return 'glibc'
    const before = report.excludeNetwork
    // Names of peers would be looked up, which can take seconds.
    report.excludeNetwork = true
    const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } }
    if (before !== undefined) report.excludeNetwork = before
    return header?.glibcVersionRuntime === undefined ? 'musl' : 'glibc'
  }
}

/** The system in words: platform, architecture and C library. */
function here(): string {
  const { arch, platform: system } = process
  return system === 'linux' ? `${system} ${arch} (${libc()})` : `${system} ${arch}`
}

const BUILD = `build it from the repository (npm run build) and name the file in POCKETSOCKET_BINARY`

export function unsupported(): Error {
  return failure(
    'ERR_UNSUPPORTED_PLATFORM',
    `pocketsocket has no binary for ${here()}: there are ${PLATFORMS.join(', ')}. For another platform ${BUILD}`,
  )
}

/** The package is not there. `others` are the platforms whose packages are. */
export function missing(needed: string, others: string[], version: string): Error {
  if (others.length > 0) {
    return failure(
      'ERR_WRONG_PLATFORM',
      `pocketsocket was installed for ${others.join(', ')}, but this is ${here()}, which needs pocketsocket-${needed}. \
Install here, instead of copying node_modules: npm install --force pocketsocket@${version}`,
    )
  }
  return failure(
    'ERR_NO_BINARY',
    `pocketsocket-${needed}, the binary of pocketsocket for ${here()}, is not installed. It is an optional dependency: \
install again without --omit=optional and --no-optional, and with a lockfile that lists this platform \
(npm/cli#4828: remove node_modules and package-lock.json), or add it: npm install pocketsocket-${needed}@${version}`,
  )
}

export function wrongVersion(file: string, found: string, version: string): Error {
  return failure(
    'ERR_BINARY_VERSION',
    `pocketsocket is ${version}, but its binary ${file} is ${found}. Both have to be of one version: \
npm install pocketsocket@${version}, and if the repository built the file, npm run build`,
  )
}

export function unloadable(file: string, cause: unknown): Error {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return failure(
    'ERR_BINARY_LOAD',
    `${file}, the binary of pocketsocket, does not load on ${here()}: ${reason}. Linux needs glibc 2.17 or musl 1.2, and \
each system a binary of its own: install again (npm install --force pocketsocket), or ${BUILD}`,
    cause,
  )
}

function failure(code: string, message: string, cause?: unknown): Error {
  return Object.assign(new Error(message, cause === undefined ? undefined : { cause }), { code })
}
