"""How far the same numbers may lie apart when float32 computes them in another way: stated here once.

Sums of float32 are rounded at every step, and their order belongs to the kernel: another processor (AVX-512, AVX2,
NEON, none of them), another number of threads, and a batch of another shape each take another one. Then the same rows
agree to some units of the last place (6e-8 of the value) for each step that was rounded, and no further. Only the same
call repeated, training from the same seed among it, repeats its bits. A promise of exactly the same result is tested by
its structure: that nothing else is computed.
"""

LAYER = 1e-5
"""Through a layer, or the joint model: values of order 1, sums of some hundred products."""

NETWORK = 1e-4
"""Through the whole network from audio on: values of order 1, sums of up to 4,000 products, layer after layer."""

KEPT = 2e-3
"""Through the whole network, and kept in float16: 11 binary digits of values up to about 10."""
