import test from 'ava'
import {
  availableModels,
  knownModels,
  modelInfo,
  parseHubId,
  suggestions,
} from '../../lib/base/known-models.js'

test("availableModels lists OpenAI's nine in their order, as a new array each time", t => {
  const names = availableModels()
  t.deepEqual(names, [
    'RN50',
    'RN101',
    'RN50x4',
    'RN50x16',
    'RN50x64',
    'ViT-B/32',
    'ViT-B/16',
    'ViT-L/14',
    'ViT-L/14@336px',
  ])
  names.pop()
  t.is(availableModels().length, 9)
})

test('the address that modelInfo gives for an OpenAI name contains the hash', t => {
  for (const name of availableModels()) {
    const info = modelInfo(name)
    t.is(info.name, name)
    t.is(info.url, `https://openaipublic.azureedge.net/clip/models/${info.sha256}/${info.file}`)
    t.regex(info.sha256!, /^[0-9a-f]{64}$/)
    t.is(info.license, 'MIT')
    t.true(info.bytes! > 200e6)
  }
  t.is(new Set(availableModels().map(name => modelInfo(name).sha256)).size, 9)
  t.is(modelInfo('ViT-B/32').sha256, '40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af')
  t.is(modelInfo('ViT-L/14@336px').file, 'ViT-L-14-336px.pt')
})

test('modelInfo accepts hub ids that are listed or not, with a revision and with the prefix', t => {
  t.like(modelInfo('openai/clip-vit-base-patch32'), {
    family: 'huggingface',
    revision: 'main',
    license: 'MIT',
  })
  t.like(modelInfo('hf-hub:laion/CLIP-ViT-H-14-laion2B-s32B-b79K'), {
    name: 'laion/CLIP-ViT-H-14-laion2B-s32B-b79K',
    family: 'openclip',
    embedDim: 1024,
  })
  t.like(modelInfo('openai/clip-vit-base-patch16@refs/pr/3'), {
    name: 'openai/clip-vit-base-patch16',
    revision: 'refs/pr/3',
    imageSize: 224,
  })
  const mine = modelInfo('someone/my-clip@v1.0')
  t.like(mine, { name: 'someone/my-clip', revision: 'v1.0', url: 'https://huggingface.co/someone/my-clip' })
  t.is(mine.license, undefined)
})

test('modelInfo returns a new object each time', t => {
  modelInfo('RN50').name = 'spoilt'
  knownModels()[0].name = 'spoilt'
  t.is(modelInfo('RN50').name, 'RN50')
})

test('the error for an unknown name suggests similar names', t => {
  const cases: [string, string][] = [
    ['ViT-B/23', 'ViT-B/32'],
    ['vit-b/32', 'ViT-B/32'],
    ['ViT-B-32', 'ViT-B/32'],
    ['RN5O', 'RN50'],
    ['ViT-L/14@336', 'ViT-L/14@336px'],
    ['clip-vit-base-patch32', 'openai/clip-vit-base-patch32'],
  ]
  for (const [wrong, right] of cases) {
    const error = t.throws(() => modelInfo(wrong), { code: 'ERR_CLIP_CONFIG' })
    t.true(error!.message.includes(`Did you mean ${right}`), error!.message)
  }
  t.deepEqual(suggestions('completely different'), [])
  t.notRegex(t.throws(() => modelInfo('zzzzzz'))!.message, /Did you mean/)
  t.throws(() => modelInfo(3 as unknown as string), { instanceOf: TypeError, code: 'ERR_CLIP_INPUT' })
})

test('an id that could point outside of its folder or address is not a hub id', t => {
  for (const bad of [
    '../etc',
    'a/..',
    '../../x',
    'a/b/c',
    'a',
    '/a/b',
    'a/b@',
    'a/b@..',
    'a/b@x/../y',
    'a/b@/x',
    'a--b/c',
    'a/b?x=1',
    'a/b#x',
    'a\\b/c',
    'a/b%2f',
    'a/.git',
    'a b/c',
    `${'a'.repeat(200)}/b`,
  ])
    t.is(parseHubId(bad), undefined, bad)
  t.deepEqual(parseHubId('a/b'), { id: 'a/b', revision: 'main' })
})
