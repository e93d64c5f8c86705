import test from 'ava'
import { ClassificationMetrics, drawShots, recall, seededRandom } from '../../lib/eval/metrics.js'

const near = (a: number, b: number) => Math.abs(a - b) < 1e-12

test('accuracies, confusion and calibration equal those calculated by hand', t => {
  const metrics = new ClassificationMetrics(['a', 'b', 'c', 'd', 'e', 'f', 'g'])
  // Six answers. Bins of 1/15: 0.9 lies in (13/15, 14/15], 0.5 in (7/15, 8/15], 0.2 on the edge of (2/15, 3/15].
  metrics.add({ truth: 0, best: [0, 1, 2, 3, 4], confidence: 0.9 })
  metrics.add({ truth: 0, best: [1, 0, 2, 3, 4], confidence: 0.9 })
  metrics.add({ truth: 0, best: [0, 1, 2, 3, 4], confidence: 0.5 })
  metrics.add({ truth: 1, best: [2, 0, 3, 4, 5], confidence: 0.2 })
  metrics.add({ truth: 2, best: [2, 0, 3, 4, 5], confidence: 0.5 })
  metrics.add({ truth: 1, best: [2, 0, 3, 4, 1], confidence: 1 })
  const r = metrics.result()
  t.is(r.count, 6)
  t.true(near(r.top1, 3 / 6))
  t.true(near(r.top5, 5 / 6))
  // a 2/3, b 0/2, c 1/1; classes without images don't count.
  t.true(near(r.meanPerClass, (2 / 3 + 0 + 1) / 3))
  t.deepEqual(r.perClass[1], { label: 'b', count: 2, right: 0, accuracy: 0 })
  t.is(r.perClass[6]!.accuracy, null)
  const count = (label: string, predicted: string) =>
    r.confusion.find(c => c.label === label && c.predicted === predicted)?.count ?? 0
  t.deepEqual([count('a', 'a'), count('a', 'b'), count('b', 'c'), count('c', 'c')], [2, 1, 2, 1])
  t.is(
    r.confusion.reduce((sum, c) => sum + c.count, 0),
    6,
  )
  // 2 answers at 0.9, half of them right: 2 * 0.4; 2 at 0.5, both right: 2 * 0.5; 1 at 0.2 wrong: 0.2; 1 at 1 wrong: 1.
  t.true(near(r.calibration.ece, (0.8 + 1 + 0.2 + 1) / 6))
  t.is(r.calibration.bins.length, 15)
  t.deepEqual(
    r.calibration.bins.flatMap((b, i) => (b.count > 0 ? [[i, b.count, b.accuracy]] : [])),
    [
      [2, 1, 0],
      [7, 2, 1],
      [13, 2, 0.5],
      [14, 1, 0],
    ],
  )
})

test('recall at 1, 5 and 10 counts the first matching result', t => {
  // Three queries, ten items each: found at place 1, at 5, and at 10.
  const best = Int32Array.from({ length: 30 }, (_, i) => i % 10)
  const places = [0, 4, 9]
  t.deepEqual(
    recall(best, 3, 10, (q, item) => item === places[q]),
    { recall1: 1 / 3, recall5: 2 / 3, recall10: 1 },
  )
  t.deepEqual(
    recall(best, 3, 10, (q, item) => q === 0 && (item === 5 || item === 7)),
    { recall1: 0, recall5: 0, recall10: 1 / 3 },
  )
})

test('drawShots takes the requested number per label, depends only on the seed, and leaves one for the test', t => {
  const labels = [...Array(10).fill('a'), ...Array(3).fill('b'), 'c']
  const drawn = drawShots(labels, 4, 7)
  const of = (label: string) => drawn.filter(i => labels[i] === label).length
  t.deepEqual([of('a'), of('b'), of('c')], [4, 2, 1])
  t.is(new Set(drawn).size, drawn.length)
  t.deepEqual(drawShots(labels, 4, 7), drawn)
  t.notDeepEqual(drawShots(labels, 4, 8), drawn)
  t.deepEqual(
    drawShots(labels, 16, 1, 0),
    labels.map((_, i) => i),
  )
  // Every image has its chance.
  const seen = new Set(Array.from({ length: 60 }, (_, seed) => drawShots(labels, 1, seed)[0]))
  t.is(seen.size, 10)
})

test('seededRandom gives the numbers of mulberry32', t => {
  // The published C function, by hand from its first state 0x6d2b79f5: independent of Math.random and of the machine.
  const random = seededRandom(0)
  t.deepEqual(
    [random(), random(), random()],
    [0.26642920868471265, 0.0003297457005828619, 0.2232720274478197],
  )
})
