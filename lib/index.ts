/**
 * The public API of clip-native. The raw kernels are in `clip-native/kernels`.
 *
 * @module
 */

// Read this first. A call travels downwards, and files import only from rooms below (test/architecture/floors.ts lists
// the floors, and a test checks them):
//
//   load.ts           a source -> hub/ (which folder on this machine) -> checkpoint/ (sizes, and where each tensor lies)
//                     -> native/addon.ts: native code reads and packs the weights -> a Clip
//   clip.ts           the methods of a Clip; each calls one function of a room, which checks the arguments
//   encode/image.ts   clip.encodeImage: admission.ts admits the call (maxQueue, abort, dispose), image/ decodes windows of
//                     images off this thread, native code resizes them and runs the tower, result.ts puts the rows together
//   encode/text.ts    clip.encodeText: the same with tokenizer/ in place of image/
//   classifier/       clip.classifier: labels -> prompts -> encode/text.ts -> a scorer, which scores the output of encode/image.ts
//   native/           the only access to native code: surface.ts declares it, addon.ts loads it, jobs.ts cancels its jobs
//
// Looking for something else?
//   how an option is checked, an error is worded, a long loop is divided    base/options.ts, base/errors.ts, base/slices.ts
//   what kind of image is accepted, and how it becomes pixels              image/input.ts, image/decode.ts, image/formats/
//   a checkpoint that is not recognised                                    checkpoint/folder.ts, checkpoint/families/
//   searching, evaluating, learning                                        store/, eval/, learn/
//   the command line                                                       cli/main.ts
//   the kernels that clip-native/kernels exports                           kernels.ts, kernels/

export type { Dtype } from './base/dtypes.js'
export {
  type ClipArgumentError,
  ClipError,
  type ClipErrorCode,
  type ClipErrorDetails,
  isClipError,
} from './base/errors.js'
export { availableModels, type ModelFamily, type ModelInfo, modelInfo } from './base/known-models.js'
export { version } from './base/package.js'
export type {
  Classifier,
  ClassifierOptions,
  ClassifyOptions,
  Prediction,
  StreamItem,
} from './classifier/classifier.js'
export type { DescribedLabel, Label, LabelOf } from './classifier/labels.js'
export { type PromptSet, type PromptSetName, promptSet, promptSetNames } from './classifier/prompt-sets.js'
export type { Template } from './classifier/prompts.js'
export type { ClassifierKind } from './classifier/scorers.js'
export type { SimilarityOptions } from './classifier/similarity.js'
export { templates } from './classifier/templates.generated.js'
export type { Clip, ClipInfo } from './clip.js'
export { type BackendInfo, type DeviceInfo, devices, type GpuInfo } from './devices.js'
export { Embeddings, type EmbeddingsOf } from './encode/embeddings.js'
export type { BackgroundOption, DecodeOption, EncodeImageOptions } from './encode/image.js'
export type { EncodeOptions, Output } from './encode/result.js'
export type { EncodeTextOptions, TokenizeOptions } from './encode/text.js'
export type { Tokens } from './encode/tokenize.js'
export { type DatasetOptions, openDataset } from './eval/dataset.js'
export { type EvaluateOptions, evaluate } from './eval/evaluate.js'
export type {
  Calibration,
  CalibrationBin,
  ClassAccuracy,
  Classification,
  Confusion,
  Recall,
} from './eval/metrics.js'
export { htmlReport } from './eval/report.js'
export type {
  ClassificationReport,
  Evaluation,
  EvaluationTask,
  Mistake,
  RetrievalReport,
} from './eval/reports.js'
export type { Dataset, Sample } from './eval/samples.js'
export type { DownloadProgress } from './hub/index.js'
export type { DecodeMode } from './image/decode-mode.js'
export { isImageName } from './image/extensions.js'
export {
  type ImageFilesOptions,
  imageFiles,
  type LeftOut,
  type LeftOutReason,
} from './image/files.js'
export type { ImageInput, Preprocessed, RawPixels, SharpLike } from './image/input.js'
export type { AllLeftOut } from './image/left-out.js'
export type { ByteStream } from './image/source.js'
export type { Adapter, AdaptOptions, Pairs } from './learn/adapt.js'
export type { Examples } from './learn/examples.js'
export type { LinearProbeOptions } from './learn/linear-probe.js'
export type { FineTune, TipAdapterOptions } from './learn/tip-adapter.js'
export { type LoadOptions, load } from './load.js'
export type { Activation, Tower } from './native/spec.js'
export type { ScoreKind } from './native/surface.js'
export type { AddResult, StoreInput } from './store/add.js'
export type { CompactResult } from './store/compact.js'
export type { NearDuplicate } from './store/duplicates.js'
export type { StoreDtype } from './store/header.js'
export { type LanceTable, toLanceDB } from './store/lancedb.js'
export type { MergeResult } from './store/merge.js'
export type { BothQuery, StoreQuery } from './store/query.js'
export type { Store } from './store/store.js'
export type {
  AddOptions,
  AddProgress,
  CompactOptions,
  Match,
  MergeOptions,
  NearDuplicateOptions,
  OpenStoreOptions,
  SearchOptions,
  StoreBatch,
} from './store/types.js'
