"""Next3D: our own implementation of the published generator, which loads the published weights.

Written from the formulas of the papers (StyleGAN2, EG3D, Next3D) and held to numbers recorded from
the published code by `benchmarks/parity/next3d.py`. Every quirk that the weights were trained with
is kept and named where it stands.
"""
