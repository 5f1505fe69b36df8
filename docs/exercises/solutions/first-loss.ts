/** Policy and reference are one, so both log-ratios are 0. */
export const firstLoss = {
  /** Guessing among 640. */
  pretrain: Math.log(640),
  /** -log sigmoid(0), whatever beta is. */
  dpo: Math.LN2,
  /** 0.7 ln 2 + 0.3 ln 2: both sides of the label cost the same. */
  smoothed: Math.LN2,
  /** (0 - 1 / (2 x 0.5))^2. */
  ipo: 1,
  /** max(0, 1 - 0). */
  hinge: 1,
};
