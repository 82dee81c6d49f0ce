// The package as users get it: packed, and extracted into the node_modules of a project of theirs. No network is used.

import { execFileSync } from 'node:child_process'
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROOT } from './child-programs.js'

export interface Project {
  readonly path: string
  /** The files of the tarball, sorted. */
  readonly files: string[]
  /** Puts the addon where npm puts the package of this platform. */
  addPlatform(): void
  remove(): void
}

/** A project with the packed package, and @types/node, installed. */
export function installPacked(): Project {
  const path = mkdtempSync(join(tmpdir(), 'pocketsocket-packed-'))
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  execFileSync(npm, ['pack', '--ignore-scripts', '--silent', '--pack-destination', path], {
    cwd: ROOT,
    shell: process.platform === 'win32',
    stdio: 'pipe',
    env: { ...process.env, npm_config_update_notifier: 'false' },
  })
  const tarball = readdirSync(path).find((file) => file.endsWith('.tgz')) ?? ''
  const list = execFileSync('tar', ['-tzf', tarball], { cwd: path, encoding: 'utf8' })
  const installed = join(path, 'node_modules/pocketsocket')
  mkdirSync(join(path, 'node_modules/@types'), { recursive: true })
  mkdirSync(installed)
  execFileSync('tar', ['-xzf', tarball, '-C', 'node_modules/pocketsocket', '--strip-components=1'], { cwd: path })
  symlinkSync(join(ROOT, 'node_modules/@types/node'), join(path, 'node_modules/@types/node'), 'junction')
  writeFileSync(join(path, 'package.json'), '{ "name": "consumer", "private": true, "type": "module" }\n')
  return {
    path,
    files: list
      .trim()
      .split(/\r?\n/)
      .map((file) => file.replace(/^package\//, ''))
      .sort(),
    addPlatform() {
      const addon = readdirSync(ROOT).find((file) => /^pocketsocket\..*\.node$/.test(file)) ?? ''
      const platform = addon.split('.')[1] ?? ''
      const target = join(path, `node_modules/pocketsocket-${platform}`)
      cpSync(join(ROOT, 'npm', platform), target, { recursive: true })
      copyFileSync(join(ROOT, addon), join(target, addon))
    },
    remove() {
      rmSync(path, { recursive: true, force: true })
    },
  }
}
