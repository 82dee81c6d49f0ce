// Tells which glibc a Linux binary needs, from the symbol versions that it names (ELF, .gnu.version_r).
//
//   node scripts/glibc.mjs FILE... [--max 2.17]    exit code 1 if one needs a newer glibc

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

/** Section type of the versions that are needed. */
const VERNEED = 0x6ffffffe

/** The versions that a 64-bit little-endian ELF file needs, by library: `Map { 'libc.so.6' => ['GLIBC_2.14', …] }`. */
export function neededVersions(file) {
  const bytes = readFileSync(file)
  if (bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1) {
    throw new Error(`${file} is no 64-bit little-endian ELF file`)
  }
  const start = Number(bytes.readBigUInt64LE(0x28))
  const size = bytes.readUInt16LE(0x3a)
  const section = (index) => {
    const at = start + index * size
    return {
      type: bytes.readUInt32LE(at + 4),
      offset: Number(bytes.readBigUInt64LE(at + 0x18)),
      link: bytes.readUInt32LE(at + 0x28),
      count: bytes.readUInt32LE(at + 0x2c),
    }
  }
  const needed = new Map()
  for (let index = 0; index < bytes.readUInt16LE(0x3c); index++) {
    const { type, offset, link, count } = section(index)
    if (type !== VERNEED) continue
    const names = section(link).offset
    const name = (at) => bytes.toString('latin1', names + at, bytes.indexOf(0, names + at))
    for (let at = offset, left = count; left > 0; left--) {
      const versions = []
      for (let aux = at + bytes.readUInt32LE(at + 8), more = bytes.readUInt16LE(at + 2); more > 0; more--) {
        versions.push(name(bytes.readUInt32LE(aux + 8)))
        aux += bytes.readUInt32LE(aux + 12)
      }
      needed.set(name(bytes.readUInt32LE(at + 4)), versions)
      at += bytes.readUInt32LE(at + 12)
    }
  }
  return needed
}

/** The newest glibc that a file asks for, such as `2.14`; null if it asks for none. */
export function newestGlibc(file) {
  const versions = [...neededVersions(file).values()]
    .flat()
    .filter((version) => /^GLIBC_2\.\d+(\.\d+)?$/.test(version))
    .map((version) => version.slice('GLIBC_'.length))
  return versions.sort(compare).at(-1) ?? null
}

export function compare(a, b) {
  return a.localeCompare(b, 'en', { numeric: true })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({ options: { max: { type: 'string' } }, allowPositionals: true })
  for (const file of positionals) {
    const newest = newestGlibc(file)
    console.log(`${file}: glibc ${newest}`)
    if (newest !== null && values.max !== undefined && compare(newest, values.max) > 0) {
      console.error(`glibc: ${file} needs glibc ${newest}, which is newer than ${values.max}`)
      process.exitCode = 1
    }
  }
}
