/**
 * Byte-level BPE represents each byte by a printable character, so that no piece contains a space or control character. The
 * table is OpenAI's: printable Latin-1 characters represent themselves, the other bytes use U+0100 onwards.
 */

const printable = (byte: number): boolean =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff)

/** The character of each byte. */
export const byteToSymbol: string[] = []
/** The byte of each character; undefined for other characters. */
export const symbolToByte = new Map<string, number>()
/** The bytes in the order of OpenAI's vocabulary: printable ones first. */
export const bytesInVocabularyOrder: number[] = []

let next = 0x100
for (let byte = 0; byte < 256; byte++) {
  const symbol = String.fromCharCode(printable(byte) ? byte : next++)
  byteToSymbol.push(symbol)
  symbolToByte.set(symbol, byte)
}
for (const wanted of [true, false])
  for (let byte = 0; byte < 256; byte++) if (printable(byte) === wanted) bytesInVocabularyOrder.push(byte)
