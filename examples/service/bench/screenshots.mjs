/** `npm run screenshots -- FOLDER`: the page light, dark and narrow, for people to look at. */

import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { startService } from '../test/service.mjs'

const [folder = '.'] = process.argv.slice(2)
const service = await startService()
await service.indexed()
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu'],
})
const looks = {
  light: { colorScheme: 'light', viewport: { width: 1000, height: 900 } },
  dark: { colorScheme: 'dark', viewport: { width: 1000, height: 900 } },
  narrow: { colorScheme: 'light', viewport: { width: 380, height: 800 } },
}
for (const [name, look] of Object.entries(looks)) {
  const page = await browser.newPage(look)
  await page.goto(service.url)
  await page.waitForSelector('#examples .image')
  await page.screenshot({ path: join(folder, `${name}-empty.png`), fullPage: true })
  await page.click('#examples [data-id="dog.png"]')
  await page.waitForSelector('#bars li')
  await page.fill('#words', 'an icon of a rocket')
  await page.keyboard.press('Enter')
  await page.waitForSelector('#matches .image')
  await page.waitForTimeout(600)
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true })
  await page.close()
}
await browser.close()
await service.stop()
