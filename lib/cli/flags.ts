/** Replaces the option names in errors of the library by the flags of the command line. */

const FLAGS: Record<string, string> = {
  maxPixels: '--max-pixels',
  decodeTimeout: '--decode-timeout',
  background: '--background',
  decode: '--decode',
  orient: '--orient',
  svg: '--svg',
  device: '--device',
  dtype: '--dtype',
  threads: '--threads',
  adapter: '--adapter',
  packCache: '--pack-cache',
  activation: '--activation',
  heads: '--heads',
  stateDict: '--state-dict',
  topK: '--top',
  as: '--as',
  threshold: '--threshold',
  truncate: '--truncate',
  task: '--task',
  shots: '--shots',
  seed: '--seed',
  limit: '--limit',
  labels: '--labels',
  epochs: '--epochs',
  batchSize: '--batch',
  fineTune: '--fine-tune',
  followLinks: '--follow-links',
  classNames: '--class-names',
  classifier: '--classifier',
}

/** `maxPixels` becomes --max-pixels, `svg: true` --svg. */
export const withFlags = (message: string): string =>
  message.replace(/`(?:options\.)?(\w+)(?:: true)?`/g, (all, name: string) =>
    Object.hasOwn(FLAGS, name) ? FLAGS[name]! : all,
  )
