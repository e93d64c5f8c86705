// exp, the sigmoid, QuickGELU, SiLU, GELU and its tanh form, of one vector. The last step of exp, the
// multiplication by a power of two, is specific to the instruction set.
//
//   function   worst error (every 37th float, cpu.md)   cycles per 16
//   exp        0.87 ulp on [-87.3, 88.7], 0.82 denormal       12.0     kept
//   exp        2.8 ulp with a textbook's constants              -      dropped: fit them for the form used
//   QuickGELU  7.4e-7 absolute over [-10, 100]                15.1     kept: real division
//   QuickGELU  8.3e-7, NaN below -52 (0 times inf)            16.9     dropped: vrcp14ps and a Newton step
//   GELU       3.8e-7 absolute over [-3, 100]                 35.8     kept

// exp(x): x = n ln2 + r, |r| <= ln2 / 2; a polynomial of degree 6 in r (weighted minimax fit of the relative
// error, with the first two coefficients fixed at 1). NaN passes through because x is the second operand of
// min and max.
inline CLIP_INLINE F exponential(F x) {
  x = larger(all(-105.0f), smaller(all(89.0f), x));
  const F n = nearest(x * all(1.44269504f));
  F r = fnma(n, all(0.693359375f), x);
  r = fnma(n, all(-2.12194440e-4f), r);
  F p = all(0.00138145381f);
  p = fma(p, r, all(0.00836874533f));
  p = fma(p, r, all(0.0416683908f));
  p = fma(p, r, all(0.166665204f));
  p = fma(p, r, all(0.499999934f));
  p = fma(p, r, all(1.0f));
  p = fma(p, r, all(1.0f));
  return timesPowerOf2(p, n);
}
inline float exponential(float x) {
  float lanes[kLanes];
  store(lanes, exponential(all(x)));
  return lanes[0];
}

// 1 / (1 + exp(-x)). It uses the exponential of -|x|, which never overflows and keeps the digits of small
// results.
inline CLIP_INLINE F sigmoid(F x) {
  const F one = all(1.0f), e = exponential(zero() - absolute(x));
  return whereNegative(x, e, one) / (one + e);
}

// x sigmoid(1.702 x). Below -52, where exp is infinite, the result is -0 (an error of at most 1.6e-37).
// test/kernels/activations.test.ts compares the three activations, and thereby exp, with the reference over
// their whole range.
inline CLIP_INLINE F quickGelu(F x) { return x / (all(1.0f) + exponential(x * all(-1.702f))); }

// x sigmoid(x). Below -88, where exp is infinite, the result is -0 (an error of at most 6e-37).
inline CLIP_INLINE F silu(F x) { return x / (all(1.0f) + exponential(zero() - x)); }

// 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), where -2u = -2 sqrt(2 / pi) (x + 0.044715 x^3). Below -10.1, where
// exp is infinite, the result is -0 (an error of at most 3e-38).
inline CLIP_INLINE F geluTanh(F x) {
  const F slope = fma(x * x, all(-0.0713548163f), all(-1.59576912f));
  return x / (all(1.0f) + exponential(x * slope));
}

// x Phi(x), where Phi(x) = erfc(-x / sqrt 2) / 2. For z >= 0,
//   erfc(z) = t exp(-z^2 + P(t)), t = 1 / (1 + z / 2)   (relative error 1.2e-7 before rounding);
// for positive x, Phi(x) = 1 - erfc(x / sqrt 2) / 2.
inline CLIP_INLINE F gelu(F x) {
  const F one = all(1.0f), z = absolute(x) * all(0.70710678f), t = one / fma(z, all(0.5f), one);
  F p = all(0.17087277f);
  p = fma(p, t, all(-0.82215223f));
  p = fma(p, t, all(1.48851587f));
  p = fma(p, t, all(-1.13520398f));
  p = fma(p, t, all(0.27886807f));
  p = fma(p, t, all(-0.18628806f));
  p = fma(p, t, all(0.09678418f));
  p = fma(p, t, all(0.37409196f));
  p = fma(p, t, all(1.00002368f));
  p = fma(p, t, all(-1.26551223f));
  const F half = t * all(0.5f) * exponential(fnma(z, z, p));
  return x * whereNegative(x, half, one - half);
}
