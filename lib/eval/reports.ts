/** The results of an evaluation. */

import type { Classifier } from '../classifier/classifier.js'
import type { ImageInput } from '../image/input.js'
import type { AllLeftOut } from '../image/left-out.js'
import type { Classification, Recall } from './metrics.js'

/** What is measured: see `task` of `evaluate`. */
export type EvaluationTask = 'zeroshot' | 'fewshot' | 'probe' | 'retrieval'

/** An image that was classified wrongly. */
export interface Mistake {
  /** Name of the image in the data set. */
  name: string
  /** The true label. */
  label: string
  /** The predicted label. */
  predicted: string
  /** Probability of the predicted label. */
  probability: number
  /** The image as the data set yielded it; empty if it was large and in memory. */
  image: ImageInput
}

/** Fields that all reports share. */
export interface Evaluated {
  /** Name of the data set. */
  dataset: string
  /** Fingerprint of the model. */
  fingerprint: string
  /** Images that could not be read; they are not counted. */
  failed: { name: string; message: string }[]
  /** Files of the data set that are no samples: not named as images, or links that are not followed. Absent if there are none. */
  leftOut?: AllLeftOut
}

/** Report of a classification. */
export interface ClassificationReport extends Evaluated, Classification {
  /** The task that was measured. */
  task: 'zeroshot' | 'fewshot' | 'probe'
  /** The labels, in the order of the classes. */
  labels: string[]
  /** Number of examples and settings of training. */
  learned?: { examples: number; shots: number | 'all'; seed: number; settings: Classifier['settings'] }
  /** The classifier that was passed in, if any. */
  classifier?: { kind: Classifier['kind']; settings: Classifier['settings'] }
  /** The wrong predictions with the highest probabilities, at most 24. */
  mistakes: Mistake[]
}

/** Report of a retrieval. */
export interface RetrievalReport extends Evaluated {
  /** The task that was measured. */
  task: 'retrieval'
  /** Number of images that could be read; an image with several captions counts once. */
  images: number
  /** Number of distinct captions. */
  texts: number
  /** Recall of searching captions by an image. */
  imageToText: Recall
  /** Recall of searching images by a caption. */
  textToImage: Recall
}

/** Result of {@link evaluate}, discriminated by `task`. */
export type Evaluation = ClassificationReport | RetrievalReport
