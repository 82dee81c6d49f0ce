// Pages in a real browser: on the standalone server's own, two tabs chat, and come back when the server was gone.
//
// Screenshots are kept in build/screenshots/.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { Page } from 'playwright-core'
import { findChromium, launch, openTab } from './support/browser-chromium.js'
import { folder } from './support/child-executable.js'
import { ROOT, runExample, serve } from './support/child-programs.js'
import { Client } from './support/client.js'
import { lacks } from './support/skip.js'

const MISSING = 'Chromium: install it, or name it in CHROMIUM'
const SCREENSHOTS = join(ROOT, 'build/screenshots')

/** The tab's uuid, once it is connected. */
async function open(page: Page): Promise<string> {
  await page.locator('#state[data-state=open]').waitFor()
  await page.locator('#uuid:not([data-uuid=""])').waitFor()
  return (await page.locator('#uuid').getAttribute('data-uuid')) ?? ''
}

/** The last message that a tab lists from `from`, which has to be this one. */
async function lists(page: Page, from: 'me' | 'other', text: string): Promise<void> {
  await page.locator(`#log li[data-from=${from}]:last-child .text`).getByText(text, { exact: true }).waitFor()
}

/** The page paints once a frame. */
async function screenshot(page: Page, name: string): Promise<void> {
  mkdirSync(SCREENSHOTS, { recursive: true })
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) })
}

test('two tabs chat, and reconnect to a server that was away', async (t) => {
  const executable = findChromium()
  if (lacks(t, executable !== undefined, MISSING) || executable === undefined) return
  const cwd = folder(t)
  const { program, url } = await serve(t, cwd, ['--broadcast'])
  const browser = await launch(t, executable)
  const desktop = await openTab(browser, url, { viewport: { width: 1280, height: 800 }, colorScheme: 'light' })
  const phone = await openTab(browser, url, {
    viewport: { width: 390, height: 844 },
    deviceScaleFactor: 2,
    isMobile: true,
    hasTouch: true,
    colorScheme: 'dark',
  })
  const uuids = [await open(desktop.page), await open(phone.page)]
  t.is(await desktop.page.locator('#state').textContent(), 'Open')
  t.is(new Set(uuids).size, 2)
  // Also what is shown of them, which is only a part, tells the two apart.
  const shown = [await desktop.page.locator('#uuid').textContent(), await phone.page.locator('#uuid').textContent()]
  t.is(new Set(shown).size, 2, `both are shown as ${shown[0]}`)
  for (const [n, { page }] of [desktop, phone].entries()) {
    t.true(uuids[n]?.includes(shown[n] ?? '?'))
    await page.locator(`#log li[data-from=system]:has-text("connected as ${shown[n]}")`).waitFor()
  }

  const hello = 'Hello from the desk. Привет'
  await desktop.page.locator('#message').fill(hello)
  await desktop.page.locator('#message').press('Enter')
  await lists(desktop.page, 'me', hello)
  await lists(phone.page, 'other', hello)
  t.is(await desktop.page.locator('#message').inputValue(), '')

  // What others wrote is text, whatever it looks like.
  const markup = '<b>bold</b> <img src="/x" onerror="document.title = 1"> <script>document.title = 2</script>'
  await phone.page.locator('#message').fill(markup)
  await phone.page.locator('#send').tap()
  await lists(phone.page, 'me', markup)
  await lists(desktop.page, 'other', markup)
  for (const { page } of [desktop, phone]) {
    t.is(await page.locator('#log').locator('b, img, script').count(), 0)
    t.is(await page.title(), 'pocketsocket')
    t.is(await page.locator('#count').textContent(), '2 messages')
    t.is(await page.locator('#log li[data-from=me]').count(), 1)
    t.is(await page.locator('#log li[data-from=other]').count(), 1)
  }
  // Nothing sticks out: a phone scrolls in one direction.
  const sticksOut = 'document.documentElement.scrollWidth > innerWidth'
  t.false(await phone.page.evaluate(sticksOut))
  await screenshot(desktop.page, 'desktop')
  await screenshot(phone.page, 'phone-dark')
  t.deepEqual([...desktop.faults, ...phone.faults], [])

  program.signal('SIGKILL')
  await program.end()
  for (const { page } of [desktop, phone]) {
    await page.locator('#state[data-state=reconnecting]').waitFor()
    t.true(await page.locator('#send').isDisabled())
    await page.locator('#log li[data-from=system]:has-text("closed, code 1006")').waitFor()
  }
  await desktop.page.locator('#message').fill('back again')
  await screenshot(desktop.page, 'reconnecting')
  await serve(t, cwd, ['--broadcast', '--port', new URL(url).port])
  // By themselves: nobody clicks anything.
  const again = [await open(desktop.page), await open(phone.page)]
  t.is(new Set([...uuids, ...again]).size, 4)
  // What was typed meanwhile is still there.
  await desktop.page.locator('#message').press('Enter')
  await lists(phone.page, 'other', 'back again')
  t.false(await phone.page.evaluate(sticksOut))
  // The browser itself tells of handshakes that failed meanwhile; there is nothing else.
  const others = [...desktop.faults, ...phone.faults].filter(
    (fault) => !/^WebSocket connection to .* failed/.test(fault),
  )
  t.deepEqual(others, [])
})

test("a user's templates/index.html takes the page's place", async (t) => {
  const executable = findChromium()
  if (lacks(t, executable !== undefined, MISSING) || executable === undefined) return
  const html = `<!doctype html>
<title>Mine</title>
<p id="last">nothing</p>
<script>
const socket = new WebSocket('ws://' + location.host)
socket.onopen = () => { document.title = 'connected' }
socket.onmessage = ({ data }) => { document.getElementById('last').textContent = data }
</script>`
  const { url } = await serve(t, folder(t, { 'templates/index.html': html }), ['--broadcast'])
  const { page, faults } = await openTab(await launch(t, executable), url)
  await page.waitForFunction("document.title === 'connected'")
  t.is(await page.locator('#state').count(), 0)
  const client = await Client.connect(url)
  t.teardown(() => client.terminate())
  client.send('for my page')
  await page.locator('#last').getByText('for my page').waitFor()
  t.deepEqual(faults, [])
})

test("the chat example's page keeps people apart by their rooms", async (t) => {
  const executable = findChromium()
  if (lacks(t, executable !== undefined, MISSING) || executable === undefined) return
  const { url } = await runExample(t, 'chat/chat')
  const browser = await launch(t, executable)
  const enter = async (room: string, name: string) => {
    const tab = await openTab(browser, url + room)
    await tab.page.locator('#text').fill(name)
    await tab.page.locator('#text').press('Enter')
    await tab.page.locator('#log').getByText(`${name} came in`).waitFor()
    return tab
  }
  const ada = await enter('/kitchen', 'Ada')
  const eve = await enter('/cellar', 'Eve')
  const bob = await enter('/kitchen', '<b>Bob</b>')
  await ada.page.locator('#here').getByText('Here: Ada, <b>Bob</b>', { exact: true }).waitFor()
  await bob.page.locator('#text').fill('hello <i>all</i>')
  await bob.page.locator('button').click()
  for (const { page } of [ada, bob]) await page.locator('#log').getByText('<b>Bob</b> says: hello <i>all</i>').waitFor()
  t.is(await eve.page.locator('#log li').count(), 1)
  t.deepEqual([...ada.faults, ...bob.faults, ...eve.faults], [])
})
