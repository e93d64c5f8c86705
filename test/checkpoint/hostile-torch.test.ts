import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { ClipError } from '../../lib/base/errors.js'
import { readCheckpoint } from '../../lib/checkpoint/index.js'
import { goldenPath } from './goldens.js'
import { archive, global, PROTO, tensor, unicode, zip } from './torch-files.js'

const folder = await mkdtemp(join(tmpdir(), 'clip-native-'))
test.after.always(() => rm(folder, { recursive: true, force: true }))

const four = { name: 'm/data/0', data: Buffer.alloc(16) }
/** A state dict whose image tower is made of this value. */
const dict = (value: string) =>
  `${PROTO}}${unicode('visual.proj')}${value}s${unicode('visual.conv1.weight')}${value}s.`
const good = dict(tensor('FloatStorage', '0', 4, 0, [2, 2], [2, 1]))

const files: [string, Buffer, RegExp, string?][] = [
  ['os.system', archive(`${PROTO}${global('os', 'system')}(${unicode('id')}tR.`), /contains no CLIP model/],
  ['posix.system', archive(dict(`${global('posix', 'system')})R`)), /contains no CLIP model/],
  [
    'a module called with arguments',
    archive(dict(`${global('__torch__', 'M')}(${unicode('a')}t\x81`)),
    /no CLIP/,
  ],
  ['protocol 1', archive('\x80\x01N.'), /protocol 1; 2 to 5 are read/],
  ['protocol 6', archive('\x80\x06N.'), /protocol 6/],
  ['data outside of the pickle', archive('\x80\x05\x97.'), /NEXT_BUFFER/],
  ['a frame without end', archive('\x80\x04\x95\0\0'), /ends in the middle/],
  ['a text of 2^63 bytes', archive(`\x80\x04\x8d${'\xff'.repeat(7)}\x7f.`), /ends in the middle/],
  ['an integer of 16 MB', archive(`${PROTO}\x8b\0\0\0\x01.`), /an integer of 16777216 bytes/],
  ['a global named by a number', archive('\x80\x04K\x01K\x02\x93.'), /a global named 1\.2/],
  ['opcode INST', archive(`${PROTO}(ios\nsystem\n.`), /opcode 0x69/],
  ['no STOP', archive(`${PROTO}N`), /ends in the middle/],
  ['an empty stack', archive(`${PROTO}.`), /does not exist/],
  ['a memo that does not exist', archive(`${PROTO}h\x05.`), /recalls 5/],
  ['100 000 marks', archive(`${PROTO}${'('.repeat(100_000)}.`), /nested more than/],
  ['a million values', archive(`${PROTO}${'N'.repeat(1_000_000)}.`), /more than 600000 values/],
  ['a string of 4 GB', archive(`${PROTO}X\xff\xff\xff\xff.`), /ends in the middle/],
  [
    'a module in itself',
    archive(`${PROTO}${global('__torch__', 'M')})\x81q\x00}${unicode('visual')}h\x00sb.`),
    /contains no CLIP model/,
  ],
  ['modules that double 60 times', archive(doubling(60)), /more than 1000000 attributes/],
  ['a list', archive(`${PROTO}].`), /contains no CLIP model/],
  ['a storage that does not exist', archive(good), /has no entry "m\/data\/0"/, 'visual.proj'],
  [
    'a storage of another size',
    archive(good, [{ ...four, data: Buffer.alloc(12) }]),
    /has 12 bytes, not 4 x 4/,
  ],
  ['a deflated storage', archive(good, [{ ...four, deflate: true }]), /is deflated/],
  [
    'strides past the storage',
    archive(dict(tensor('FloatStorage', '0', 4, 0, [2, 2], [3, 1])), [four]),
    /reaches element 4 of a storage of 4/,
  ],
  [
    'an offset past the storage',
    archive(dict(tensor('FloatStorage', '0', 4, 1, [2, 2], [2, 1])), [four]),
    /reaches element 4/,
  ],
  [
    'a negative offset',
    archive(dict(tensor('FloatStorage', '0', 4, -1, [2, 2], [2, 1])), [four]),
    /offset -1/,
  ],
  [
    'a negative stride',
    archive(dict(tensor('FloatStorage', '0', 4, 3, [2, 2], [-2, -1])), [four]),
    /a tensor with offset/,
  ],
  [
    'complex numbers',
    archive(dict(tensor('ComplexFloatStorage', '0', 4, 0, [2, 2], [2, 1])), [four]),
    /ComplexFloatStorage, which is not read/,
  ],
  [
    'big endian',
    archive(good, [four, { name: 'm/byteorder', data: Buffer.from('big') }]),
    /byte order "big"/,
    'byteorder',
  ],
  [
    'two pickles',
    zip([
      { name: 'a/data.pkl', data: Buffer.from('N.') },
      { name: 'b/data.pkl', data: Buffer.from('N.') },
    ]),
    /2 entries/,
  ],
  [
    'a zip of something else',
    zip([{ name: 'word/document.xml', data: Buffer.from('<x/>') }]),
    /0 entries \*\/data\.pkl/,
  ],
  [
    'a zip bomb',
    zip([{ name: 'm/data.pkl', data: Buffer.alloc(64 << 20), deflate: true }]),
    /has 67108864 bytes, more than the 16777216/,
  ],
  [
    'a zip bomb that lies',
    zip([{ name: 'm/data.pkl', data: Buffer.alloc(64 << 20), deflate: true, bytes: 100 }]),
    /inflates to more than the 100 bytes/,
  ],
  [
    'less than it says',
    zip([{ name: 'm/data.pkl', data: Buffer.alloc(10), deflate: true, bytes: 100 }]),
    /inflates to 10 bytes, not 100/,
  ],
  ['an encrypted entry', zip([{ name: 'm/data.pkl', data: Buffer.from('N.'), flags: 1 }]), /is encrypted/],
  ['entries of the same name', archive('N.', [four, four]), /two entries "m\/data\/0"/],
  [
    'entries that overlap',
    zip([{ name: 'm/data.pkl', data: Buffer.from('N.'), packed: 500, bytes: 500 }, four]),
    /overlaps "m\/data\/0"/,
  ],
  [
    'an old file cut behind its magic number',
    Buffer.from('\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.', 'latin1'),
    /ends in the middle/,
  ],
  [
    'a pickle that torch.save did not write',
    Buffer.from('\x80\x04}.', 'latin1'),
    /torch\.save did not write/,
  ],
  [
    'a Git LFS pointer',
    Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n'),
    /git lfs pull/,
  ],
  ['a web page', Buffer.from('<!DOCTYPE html><html>404</html>'), /HTML page/],
  [
    'an image',
    Buffer.from('\x89PNG\r\n\x1a\n0000000000', 'latin1'),
    /neither a safetensors file nor one that PyTorch saved/,
  ],
]

/** Each module has the one before it twice. */
function doubling(depth: number): string {
  let text = `${PROTO}${global('__torch__', 'M')}q\xff)\x81}bq\x00`
  for (let i = 1; i <= depth; ++i)
    text += `h\xff)\x81}(${unicode('a')}h${String.fromCharCode(i - 1)}${unicode('b')}h${String.fromCharCode(i - 1)}ubq${String.fromCharCode(i)}`
  return `${text}.`
}

files.forEach(([name, data, message, field], i) => {
  test(`a PyTorch file is refused: ${name}`, async t => {
    const file = join(folder, `${i}.pt`)
    await writeFile(file, data)
    const error = await t.throwsAsync(readCheckpoint(file), { instanceOf: ClipError })
    if (!(error instanceof ClipError)) return
    t.is(error.code, 'ERR_CLIP_CHECKPOINT')
    t.regex(error.message, message)
    t.is(error.file, file)
    if (field) t.is(error.field, field)
  })
})

test("OpenAI's archive is refused if it is cut at any sixteenth of its length", async t => {
  const whole = await readFile(goldenPath('openai-vit'))
  const file = join(folder, 'cut.pt')
  for (let i = 0; i < 16; ++i) {
    await writeFile(file, whole.subarray(0, Math.floor((whole.length * i) / 16)))
    await t.throwsAsync(readCheckpoint(file), { instanceOf: ClipError, code: 'ERR_CLIP_CHECKPOINT' })
  }
})
