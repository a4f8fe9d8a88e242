"""Is the requantised model worth making? Perplexity and prompt speed of the prepared Q8_0 file beside the shipped Q4_1.

Perplexity is over passages of the handbook, predicted token by token through the engine's own log-probabilities of a
fixed text (teacher forcing: every prefix asks for the likelihoods of the vocabulary's best 2,000 tokens). Rounds are
interleaved. Run on a quiet machine: `python -m bench.requantised [ROUNDS]`.
"""
