/** Exercise: what is the loss before the first step? Check your answers with `npm run exercise first-loss`. */

/** To four digits. Each follows from a sentence of docs/methods, without a computer. */
export const firstLoss = {
  /** Pretraining of a new model with a vocabulary of 640 tokens (within 0.02). */
  pretrain: Number.NaN,
  /** DPO with beta 0.1, the reference being the model itself. */
  dpo: Number.NaN,
  /** The same with label smoothing 0.3. */
  smoothed: Number.NaN,
  /** IPO with beta 0.5. */
  ipo: Number.NaN,
  /** DPO's hinge loss. */
  hinge: Number.NaN,
};
