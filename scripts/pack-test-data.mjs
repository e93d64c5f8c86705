// Packs the labelled images of the tests into WebDataset archives. FOLDER contains the images and the .csv
// files that list them (the columns file and label are read). For each .csv file it writes
// test/data/NAME.tar, with the same bytes for the same images. Tests read the archives through
// test/helpers/test-data.ts.
//
//   node scripts/pack-test-data.mjs FOLDER
import { copyFileSync, createWriteStream, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { finished } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { pack } from 'tar-stream'

const [from] = process.argv.slice(2)
if (!from) {
  console.error('Expected a folder with .csv files and the images that they name.')
  process.exit(1)
}
const to = join(dirname(dirname(fileURLToPath(import.meta.url))), 'test/data')

for (const csv of readdirSync(from).filter(name => name.endsWith('.csv'))) {
  const [header, ...lines] = readFileSync(join(from, csv), 'utf8').trim().split(/\r?\n/)
  const columns = header.split(',')
  const archive = pack()
  const file = archive.pipe(createWriteStream(join(to, `${basename(csv, '.csv')}.tar`)))
  for (const line of lines) {
    const cells = line.split(',')
    const name = cells[columns.indexOf('file')]
    const always = { mtime: new Date(0), mode: 0o644 }
    archive.entry({ name, ...always }, readFileSync(join(from, name)))
    archive.entry({ name: name.replace(/\.[^./]*$/, '.cls'), ...always }, cells[columns.indexOf('label')])
  }
  archive.finalize()
  await finished(file)
  if (join(from, csv) !== join(to, csv)) copyFileSync(join(from, csv), join(to, csv))
}
