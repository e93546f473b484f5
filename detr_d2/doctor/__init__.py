"""`python -m detr_d2.doctor`: what this environment has, what detr_d2 needs, what mends it.

It runs without detectron2, torch or any other package. Looking (`look`) and judging (`verdicts`)
are apart: a verdict is a pure function of what was found.
"""
