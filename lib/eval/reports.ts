/** What an evaluation tells. */

import type { Classifier } from '../classifier/classifier.js'
import type { ImageInput } from '../image/input.js'
import type { AllLeftOut } from '../image/left-out.js'
import type { Classification, Recall } from './metrics.js'

/** What is measured: see `task` of `evaluate`. */
export type EvaluationTask = 'zeroshot' | 'fewshot' | 'probe' | 'retrieval'

/** An image that was put under a wrong label. */
export interface Mistake {
  /** What the data set calls the image. */
  name: string
  /** What it shows. */
  label: string
  /** What it was called. */
  predicted: string
  /** Of the wrong label. */
  probability: number
  /** The image as the data set gave it; empty when it was large and in memory. */
  image: ImageInput
}

/** What every evaluation tells. */
export interface Evaluated {
  /** What the data set is called. */
  dataset: string
  /** Of the model. */
  fingerprint: string
  /** Images that could not be read, by name; they count nowhere. */
  failed: { name: string; message: string }[]
  /** Files of the data set that are no samples: no images by their names, links that are not followed. Absent where there are none. */
  leftOut?: AllLeftOut
}

/** What an evaluation of labels tells. */
export interface ClassificationReport extends Evaluated, Classification {
  /** What was measured. */
  task: 'zeroshot' | 'fewshot' | 'probe'
  /** The labels, in the order in which classes are counted. */
  labels: string[]
  /** What was learned, and from how many images. */
  learned?: { examples: number; shots: number | 'all'; seed: number; settings: Classifier['settings'] }
  /** The classifier that was given, in place of what would have been learned. */
  classifier?: { kind: Classifier['kind']; settings: Classifier['settings'] }
  /** The surest of the wrong answers, at most 24. */
  mistakes: Mistake[]
}

/** What an evaluation of captions tells. */
export interface RetrievalReport extends Evaluated {
  /** What was measured. */
  task: 'retrieval'
  /** Images that could be read; one with several captions is one. */
  images: number
  /** Distinct captions. */
  texts: number
  /** An image finds one of its captions. */
  imageToText: Recall
  /** A caption finds one of its images. */
  textToImage: Recall
}

/** What `evaluate` resolves to: told apart by `task`. */
export type Evaluation = ClassificationReport | RetrievalReport
