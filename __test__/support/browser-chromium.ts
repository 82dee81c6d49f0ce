// A headless Chromium, and its tabs; each tab keeps what a developer would see in red.

import { existsSync } from 'node:fs'
import type { ExecutionContext } from 'ava'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'

const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** The path of a Chromium: the one that CHROMIUM names, else the first that is found. */
export function findChromium(): string | undefined {
  return process.env.CHROMIUM || PLACES.find((path) => existsSync(path))
}

export async function launch(t: ExecutionContext, executablePath: string): Promise<Browser> {
  const browser = await chromium.launch({ executablePath, args: FLAGS })
  t.teardown(() => browser.close())
  return browser
}

/** An open page. */
export interface Tab {
  readonly page: Page
  /** Errors of the console, uncaught errors, and what the page's Content-Security-Policy kept from it. */
  readonly faults: string[]
}

export async function openTab(browser: Browser, url: string, options?: BrowserContextOptions): Promise<Tab> {
  const context = await browser.newContext(options)
  const page = await context.newPage()
  page.setDefaultTimeout(15_000)
  const faults: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error') faults.push(message.text())
  })
  page.on('pageerror', (error) => faults.push(String(error)))
  await page.exposeFunction('reportViolation', (directive: string) => faults.push(`CSP: ${directive}`))
  await page.addInitScript(
    "addEventListener('securitypolicyviolation', (event) => reportViolation(event.effectiveDirective))",
  )
  await page.goto(url)
  return { page, faults }
}
