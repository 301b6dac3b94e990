"""Equivariant transfer learning from pretrained models: one average over a group (Eq. 4).

    M_G(x) = sum_g lambda(gx) g^-1 M(gx) / sum_g lambda(gx)

Public names are listed here and nowhere else.
"""

from __future__ import annotations

from equitune import losses
from equitune.actions import (
    Action,
    ApproximateRotation,
    Boxes,
    DihedralImage,
    Invariant,
    Linear,
    Mirror,
    PermuteAxis,
    Rank2,
    Relabel,
    Rot90,
    Rot180,
    Signs,
    action_error,
    cycle_permutations,
)
from equitune.audit import Audit, audit
from equitune.averaging import Selected, average, select, soft_select_weights, straight_through
from equitune.checks import equivariance_error
from equitune.decoding import (
    Block,
    Choice,
    Decoded,
    Pick,
    Rule,
    Step,
    Where,
    by_average,
    by_selection,
    decode,
    greedy,
)
from equitune.explanation import Explanation
from equitune.groups import (
    FiniteGroup,
    cyclic,
    dihedral,
    permutation_group,
    product,
    symmetric,
    trivial,
)
from equitune.matrix_groups import icosahedral, matrix_group, octahedral, rotations
from equitune.rectangles import Letterboxed, letterbox, unletterbox
from equitune.rules import (
    Identity,
    Learned,
    Select,
    SoftSelect,
    Uniform,
    Views,
    Weighed,
    Weighting,
)
from equitune.training import Fit, FitOptions, fine_tune, fit, fit_lambda, fit_prior, prior_loss
from equitune.weights import LambdaNet
from equitune.wrapper import Equivariant

__version__ = "0.2.0"

__all__ = [
    "Action",
    "ApproximateRotation",
    "Audit",
    "Block",
    "Boxes",
    "Choice",
    "Decoded",
    "DihedralImage",
    "Equivariant",
    "Explanation",
    "FiniteGroup",
    "Fit",
    "FitOptions",
    "Identity",
    "Invariant",
    "LambdaNet",
    "Learned",
    "Letterboxed",
    "Linear",
    "Mirror",
    "PermuteAxis",
    "Pick",
    "Rank2",
    "Relabel",
    "Rot90",
    "Rot180",
    "Rule",
    "Select",
    "Selected",
    "Signs",
    "SoftSelect",
    "Step",
    "Uniform",
    "Views",
    "Weighed",
    "Weighting",
    "Where",
    "action_error",
    "audit",
    "average",
    "by_average",
    "by_selection",
    "cycle_permutations",
    "cyclic",
    "decode",
    "dihedral",
    "equivariance_error",
    "fine_tune",
    "fit",
    "fit_lambda",
    "fit_prior",
    "greedy",
    "icosahedral",
    "letterbox",
    "losses",
    "matrix_group",
    "octahedral",
    "permutation_group",
    "prior_loss",
    "product",
    "rotations",
    "select",
    "soft_select_weights",
    "straight_through",
    "symmetric",
    "trivial",
    "unletterbox",
]
