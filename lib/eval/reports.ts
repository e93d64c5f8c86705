/** What an evaluation tells. */

import type { Classifier } from '../classifier.js'
import type { ImageInput } from '../image/input.js'
import type { Classification, Recall } from './metrics.js'

/** A picture that was put under a wrong label. */
export interface Mistake {
  name: string
  label: string
  predicted: string
  /** Of the wrong label. */
  probability: number
  image: ImageInput
}

export interface Evaluated {
  dataset: string
  /** Of the model. */
  fingerprint: string
  /** Pictures that could not be read, by name; they count nowhere. */
  failed: { name: string; message: string }[]
}

export interface ClassificationReport extends Evaluated, Classification {
  task: 'zeroshot' | 'fewshot' | 'probe'
  labels: string[]
  /** What was learned, and from how many pictures. */
  learned?: { examples: number; shots: number | 'all'; seed: number; settings: Classifier['settings'] }
  /** The surest of the wrong answers, at most 24. */
  mistakes: Mistake[]
}

export interface RetrievalReport extends Evaluated {
  task: 'retrieval'
  images: number
  /** Distinct captions. */
  texts: number
  /** A picture finds its caption; a caption finds one of its pictures. */
  imageToText: Recall
  textToImage: Recall
}

export type Evaluation = ClassificationReport | RetrievalReport
