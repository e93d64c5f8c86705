/** Reads tokenizer_config.json beside a vocabulary: the settings of the class in transformers. */

import { dirname, join } from 'node:path'
import { ClipError } from '../base/errors.js'
import type { Json, JsonObject } from '../base/json.js'
import type { NativeTokenizerSettings } from '../native/surface.js'
import { nllbLanguages } from './nllb-languages.js'
import { ofTokenizerConfig } from './read-added-tokens.js'
import { parsed, readText } from './read-vocabulary.js'
import type { TokenizerClass } from './spec.js'

const names = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'] as const
type Names = Partial<Record<(typeof names)[number], string>>

const fairseq: Names = {
  bos: '<s>',
  eos: '</s>',
  unk: '<unk>',
  sep: '</s>',
  pad: '<pad>',
  cls: '<s>',
  mask: '<mask>',
}
const gemma: Names = { bos: '<bos>', eos: '<eos>', unk: '<unk>', pad: '<pad>', mask: '<mask>' }

/** The names of the special tokens of each class, unless the file has others. */
const defaults: Record<TokenizerClass, Names> = {
  T5Tokenizer: { eos: '</s>', unk: '<unk>', pad: '<pad>' },
  SiglipTokenizer: { eos: '</s>', unk: '<unk>', pad: '</s>' },
  XLMRobertaTokenizer: fairseq,
  GemmaTokenizer: gemma,
  Siglip2Tokenizer: gemma,
  NllbTokenizer: fairseq,
  BertTokenizer: { unk: '[UNK]', sep: '[SEP]', pad: '[PAD]', cls: '[CLS]', mask: '[MASK]' },
  RobertaTokenizer: fairseq,
  PreTrainedTokenizerFast: {},
}

const mostExtra = 20_000

/** The settings of a class for native code, apart from the vocabulary. */
export async function readSettings(
  vocabulary: string,
  like: TokenizerClass,
  language: string | undefined,
  signal: AbortSignal | undefined,
): Promise<NativeTokenizerSettings> {
  const file = join(dirname(vocabulary), 'tokenizer_config.json')
  const text = await readText(file, signal, true)
  const config: JsonObject = text === undefined ? new Map() : await parsed(file, text, signal)
  const wrong = (key: string, expected: string): ClipError => {
    const value = config.get(key)
    const actual = value instanceof Map ? 'an object' : String(JSON.stringify(value)).slice(0, 60)
    return new ClipError(
      'ERR_CLIP_CHECKPOINT',
      `${file}: expected \`${key}\` to be ${expected}, got ${actual}`,
      {
        file,
        field: key,
        expected,
        actual,
      },
    )
  }
  const flag = (key: string): boolean | undefined => {
    const said = config.get(key) ?? undefined
    if (said !== undefined && typeof said !== 'boolean') throw wrong(key, 'true or false')
    return said
  }
  /** A token is written as a string, or as an object with its flags. */
  const token = (key: string, value: Json | undefined): string | undefined => {
    const content = value instanceof Map ? value.get('content') : (value ?? undefined)
    if (content !== undefined && (typeof content !== 'string' || content.length > 256))
      throw wrong(key, 'a token of at most 256 characters')
    return content
  }
  const side = config.get('padding_side')
  if (side === 'left')
    throw wrong('padding_side', '"right" (the towers of this package have their pads there)')
  const settings: NativeTokenizerSettings = {
    class: like,
    lowercase: flag('do_lower_case'),
    ideographs: flag('tokenize_chinese_chars'),
    accents: flag('strip_accents'),
    prefixSpace: flag('add_prefix_space'),
    startsWithBos: flag('add_bos_token'),
    endsWithEos: flag('add_eos_token'),
    legacyLanguage: flag('legacy_behaviour'),
  }
  for (const name of names)
    settings[name] = token(`${name}_token`, config.get(`${name}_token`)) ?? defaults[like][name]
  if (like === 'NllbTokenizer')
    settings.language = language ?? token('src_lang', config.get('src_lang')) ?? 'eng_Latn'
  const decoder = config.get('added_tokens_decoder') ?? undefined
  if (decoder !== undefined) settings.added = ofTokenizerConfig(file, decoder)
  settings.extra = extraTokens(config, like, wrong, token)
  // In a SentencePiece model's order of ids: T5's extra tokens go down, NLLB's mask follows the languages.
  if (like === 'T5Tokenizer' && vocabulary.endsWith('.model')) settings.extra.reverse()
  if (like === 'NllbTokenizer' && settings.mask !== undefined) {
    settings.extra.push(settings.mask)
    settings.mask = undefined
  }
  return settings
}

/** Special tokens that a vocabulary may lack, as a class adds them. */
function extraTokens(
  config: JsonObject,
  like: TokenizerClass,
  wrong: (key: string, expected: string) => ClipError,
  token: (key: string, value: Json | undefined) => string | undefined,
): string[] {
  for (const key of ['extra_special_tokens', 'additional_special_tokens']) {
    const list = config.get(key)
    if (!Array.isArray(list)) continue
    if (list.length > mostExtra) throw wrong(key, `at most ${mostExtra} tokens`)
    return list.flatMap((value, i) => token(`${key}[${i}]`, value) ?? [])
  }
  if (like === 'NllbTokenizer') return [...nllbLanguages]
  if (like !== 'T5Tokenizer') return []
  const count = config.get('extra_ids') ?? 100
  if (typeof count !== 'number' || !Number.isInteger(count) || count < 0 || count > 1000)
    throw wrong('extra_ids', 'from 0 to 1000')
  return Array.from({ length: count }, (_, i) => `<extra_id_${i}>`)
}
