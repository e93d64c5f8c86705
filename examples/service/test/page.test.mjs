/** The page in Chromium, as people use it: drop, paste, choose, type, keys alone. Skipped where there is no Chromium. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { chromium } from 'playwright-core'
import { exampleImages } from '../src/config.mjs'
import { startService } from './service.mjs'

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
const there = spawnSync(executablePath, ['--version'], { stdio: 'ignore' }).status === 0
const skip = there ? false : `no Chromium at ${executablePath}`
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

let service
let browser

before(async () => {
  if (!there) return
  service = await startService()
  await service.indexed()
  browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] })
})
after(async () => {
  await browser?.close()
  if (service) assert.equal(await service.stop(), 0)
})

/** A page that is ready, and what went wrong in it. */
async function open(options = {}) {
  const page = await browser.newPage({ viewport: { width: 1000, height: 900 }, ...options })
  const errors = []
  page.setDefaultTimeout(120_000) // of a busy machine
  page.on('pageerror', error => errors.push(error.message))
  page.on('console', message => message.type() === 'error' && errors.push(message.text()))
  await page.goto(service.url)
  await page.waitForSelector('#examples .image')
  return { page, errors }
}

const first = page => page.locator('#bars li').first()
const winner = (page, label) =>
  page.waitForFunction(l => document.querySelector('#bars li .label')?.textContent === l, label)

/** A DataTransfer in the page with an image of the server in it. */
const transfer = (page, name) =>
  page.evaluateHandle(async file => {
    const data = new DataTransfer()
    const blob = await (await fetch(`/images/${file}`)).blob()
    data.items.add(new File([blob], file, { type: blob.type }))
    return data
  }, name)

test('dropped, pasted and chosen images get the right label, which screen readers announce', {
  skip,
}, async () => {
  const { page, errors } = await open()
  await page.dispatchEvent('#drop', 'drop', { dataTransfer: await transfer(page, 'dog.png') })
  await winner(page, 'dog')
  assert.match(await page.textContent('#result'), /^dog, \d+\.\d %/)
  assert.equal(await page.getAttribute('#result', 'role'), 'status')
  await page.evaluate(
    clipboardData => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true })),
    await transfer(page, 'rocket.png'),
  )
  await winner(page, 'rocket')
  await page.setInputFiles('#file', join(exampleImages, 'anchor.png'))
  await winner(page, 'anchor')
  assert.match(await page.getAttribute('#preview', 'alt'), /anchor\.png/)
  const width = () =>
    page.evaluate(() => getComputedStyle(document.querySelector('#bars li'), '::before').transform)
  await page.waitForTimeout(500) // the bar has moved to its place
  const scale = Number(/matrix\(([\d.]+)/.exec(await width())[1])
  const said = Number.parseFloat(await first(page).locator('.score').textContent()) / 100
  assert.ok(Math.abs(scale - said) < 0.01, `${scale} ${said}`)
  assert.deepEqual(errors, [])
  await page.close()
})

test('the bars follow the typed labels and the templates', { skip }, async () => {
  const { page, errors } = await open()
  await page.click('#examples [data-id="pizza.png"]')
  await winner(page, 'pizza')
  assert.equal(await page.getAttribute('#examples [data-id="pizza.png"]', 'aria-pressed'), 'true')
  await page.fill('#labels', 'ship, <b>pizza</b>, a slice of pizza, guitar')
  await page.waitForFunction(() => document.querySelectorAll('#bars li').length === 4)
  const shown = await page.locator('#bars .label').allTextContents()
  assert.ok(shown.includes('<b>pizza</b>')) // words, never markup
  const before = await page.textContent('#bars')
  await page.selectOption('#templates', 'icons')
  await page.waitForFunction(text => document.querySelector('#bars').textContent !== text, before)
  await page.fill('#labels', '')
  await page.waitForFunction(() => document.querySelectorAll('#bars li').length === 0)
  assert.match(await page.textContent('#result'), /Type one or more labels/)
  await page.fill('#labels', 'x'.repeat(400))
  await page.waitForFunction(() =>
    /300 characters/.test(document.querySelector('#classify-error').textContent),
  )
  // The refused request is all that the console may have to say.
  assert.ok(
    errors.every(text => /status of 400/.test(text)),
    errors.join('\n'),
  )
  await page.close()
})

test('a file that is not an image is refused with a message', { skip }, async () => {
  const { page } = await open()
  const text = { name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('words') }
  await page.setInputFiles('#file', text)
  assert.equal(await page.textContent('#classify-error'), 'That file is not an image.')
  await page.setInputFiles('#file', { ...text, name: 'a.png', mimeType: 'image/png' })
  await page.waitForFunction(() => /image/.test(document.querySelector('#classify-error').textContent))
  assert.equal(await page.getAttribute('#classify-error', 'role'), 'alert')
  await page.close()
})

test('the page can be used with the keyboard alone', { skip }, async () => {
  const { page, errors } = await open()
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.dataset.id)
  const seen = []
  const tabTo = async id => {
    for (let i = 0; i < 40; i++) {
      await page.keyboard.press('Tab')
      seen.push(await focused())
      const outlined = await page.evaluate(() => {
        const of = e => getComputedStyle(e).outlineStyle
        const e = document.activeElement
        return of(e) !== 'none' || of(e.closest('.button') ?? e) !== 'none'
      })
      assert.ok(outlined, `focus is seen on ${seen.at(-1)}`)
      if (seen.at(-1) === id) return
    }
    assert.fail(`${id} is not reached: ${seen}`)
  }
  await tabTo('bicycle.jpg')
  await page.keyboard.press('Enter')
  await winner(page, 'bicycle')
  await tabTo('labels')
  await page.keyboard.press('Control+A')
  await page.keyboard.type('boat, bicycle, tree')
  await page.waitForFunction(() => document.querySelectorAll('#bars li').length === 3)
  await winner(page, 'bicycle')
  await tabTo('words')
  await page.keyboard.type('an icon of a rocket')
  await page.keyboard.press('Enter')
  await page.waitForSelector('#matches .image')
  assert.equal(await page.getAttribute('#matches .image', 'data-id'), 'rocket.png')
  await tabTo('rocket.png')
  await page.keyboard.press('Space')
  await page.waitForFunction(() => /rocket/.test(document.querySelector('#preview').alt))
  assert.equal(seen[0], 'file')
  assert.deepEqual(errors, [])
  await page.close()
})

test('a search by words shows the best images first, and their number', { skip }, async () => {
  const { page, errors } = await open()
  for (const name of ['dog', 'guitar', 'camera']) {
    await page.fill('#words', `an icon of a ${name}`)
    await page.click('#search button')
    await page.waitForFunction(n => document.querySelector('#matches .image')?.dataset.id.startsWith(n), name)
  }
  assert.match(await page.textContent('#found'), /^The best 12 of 12 images/)
  assert.deepEqual(errors, [])
  await page.close()
})

for (const [name, options] of [
  ['light', { colorScheme: 'light' }],
  ['dark', { colorScheme: 'dark' }],
  ['narrow', { viewport: { width: 360, height: 700 } }],
])
  test(`the page is accessible according to axe and not wider than the window: ${name}`, {
    skip,
  }, async () => {
    const { page } = await open(options)
    await page.click('#examples [data-id="dog.png"]')
    await winner(page, 'dog')
    await page.fill('#words', 'an icon of a dog')
    await page.keyboard.press('Enter')
    await page.waitForSelector('#matches .image')
    await page.waitForTimeout(500)
    await page.evaluate(axe)
    const found = await page.evaluate(async () => (await globalThis.axe.run()).violations)
    assert.deepEqual(
      found.map(({ id, nodes }) => `${id}: ${nodes.map(n => n.html).join(' ')}`),
      [],
    )
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
    assert.ok(overflow <= 0, `${overflow} px too wide`)
    await page.close()
  })
