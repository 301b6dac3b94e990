"""Purposes of the generators of probing; `experiments.frame.seeds.derive` gives their seeds."""

#: Held-out images; initial layers; order and turns of an epoch; dropout of an epoch.
SPLIT, LAYERS, ORDER, DROPOUT = range(4)
