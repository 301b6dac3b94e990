"""The methods: the registry of their names and properties.

A task provides the parts that a method may use: the group, a proxy loss, the network lambda. The
method builds its weighting of Eq. 4 from them. Another method is a subclass of `Method` and a line
of `METHODS` (or a call of `register` in a file of the user's own), and an option in
``conf/method/``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from experiments.frame.errors import unknown

if TYPE_CHECKING:
    import equitune


class Kind(Enum):
    """How the views are combined, for code that never holds all of them at once.

    Decoders of language and SCAN combine views step by step, and serve the first four kinds.
    """

    OWN_VIEW = "the view of the identity"
    MEAN = "the mean of the views"
    CHOICE = "one view, by a proxy loss"
    SOFT_CHOICE = "the mean with weights by a proxy loss"
    LEARNED_MEAN = "the mean with weights that a network gives"
    OTHER = "a weighting that needs all views of an input at once"


@dataclass(frozen=True)
class Parts:
    """The parts that a task provides for the weighting of a method.

    Attributes:
        group: The group.
        loss: Proxy loss of raw outputs [G, B, ...], lower is better, [G, B]; see `equitune.losses`.
        net: The network lambda, from features [N, F] to positive weights [N].
        features: From what is read [N, ...] to the features that ``net`` reads; None: as it is.
        straight_through: Gradients of a selection; see `equitune.Select`.
        temperature: Temperature of a soft choice, in the unit of the loss.
        rank: What a method learned to choose by, lower is better, from what is read [G, B, ...] to
            [G, B].
        reads: What ``features`` and ``rank`` are called with; see `equitune.Select`.
    """

    group: equitune.FiniteGroup
    loss: Callable[..., Any] | None = None
    net: Any = None
    features: Callable[..., Any] | None = None
    straight_through: str | None = None
    temperature: float | None = None
    rank: Callable[..., Any] | None = None
    reads: Literal["inputs", "features"] = "inputs"


class Method(ABC):
    """A method and its properties.

    Attributes:
        name: The value of ``method=``.
        label: Label in figures.
        colour: Colour in figures, for matplotlib.
        kind: How the views are combined.
        needs_loss: Whether it reads a proxy loss (``task.loss`` and related options).
        needs_net: Whether it trains a network, ``method.lambda_net``.
        needs_pose: Whether that network learns, without labels, which view is upright.
        needs_temperature: Whether it reads a temperature, ``method.temperature``.
        needs_reference: Whether it reads the features of training data, without labels.
        needs_stem: Whether it cuts the model after a share of its work, ``method.stem``.
        augments: Whether the model itself is trained on transformed data without a group, with as
            many passes as a method of |G| views has.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    colour: ClassVar[str]
    kind: ClassVar[Kind] = Kind.OTHER
    needs_loss: ClassVar[bool] = False
    needs_net: ClassVar[bool] = False
    needs_pose: ClassVar[bool] = False
    needs_temperature: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = False
    needs_stem: ClassVar[bool] = False
    augments: ClassVar[bool] = False

    @property
    def needs_labels(self) -> bool:
        """Whether it learns from labels with the model frozen."""
        return self.needs_temperature or (self.needs_net and not self.needs_pose)

    @property
    def is_fitted(self) -> bool:
        """Whether its weighting has anything to learn with the model frozen (stage=lambda)."""
        return self.needs_net or self.needs_temperature or self.needs_reference

    @property
    def uses_group(self) -> bool:
        """Whether it has more than one view; otherwise it runs with the trivial group."""
        return self.kind is not Kind.OWN_VIEW

    @abstractmethod
    def weighting(self, parts: Parts) -> equitune.Weighting:
        """Return the rule that combines the views of an orbit.

        Raises:
            ValueError: If a part that the method needs is missing.
        """

    def require(self, part: Any, name: str) -> Any:
        """Return a part of `Parts`; raise ValueError if the task provides none."""
        if part is None:
            raise ValueError(f"method={self.name} needs {name}")
        return part


class Pretrained(Method):
    """M(x): the pretrained model."""

    name, label, colour, kind = "pretrained", "pretrained", "#000000", Kind.OWN_VIEW

    def weighting(self, parts: Parts) -> equitune.Weighting:
        """Return the view of the identity."""
        import equitune

        return equitune.Identity(parts.group)


class Equitune(Method):
    """Lambda is 1 everywhere (Eq. 1)."""

    name, label, colour, kind = "equitune", "equitune", "#0072B2", Kind.MEAN

    def weighting(self, parts: Parts) -> equitune.Weighting:
        """Return the mean."""
        import equitune

        return equitune.Uniform()


class Equizero(Method):
    """Lambda is 1 at the view of least proxy loss, 0 elsewhere (Eq. 2)."""

    name, label, colour, kind = "equizero", "equizero", "#E69F00", Kind.CHOICE
    needs_loss = True

    def weighting(self, parts: Parts) -> equitune.Weighting:
        """Return the choice."""
        import equitune

        loss = self.require(parts.loss, "a proxy loss")
        through = cast("Literal['identity', 'mean'] | None", parts.straight_through)
        return equitune.Select(loss, straight_through=through, group=parts.group)


class LambdaEquitune(Method):
    """Lambda is a small positive network on frozen features of gx (Eq. 4)."""

    name, label, colour = "lambda_equitune", "λ-equitune", "#009E73"
    kind, needs_net = Kind.LEARNED_MEAN, True

    def weighting(self, parts: Parts) -> equitune.Weighting:
        """Return the learned mean."""
        import equitune

        net = self.require(parts.net, "lambda")
        return equitune.Learned(net, parts.features, reads=parts.reads)


class SoftEquizero(Method):
    """Lambda is exp(-loss / temperature): equizero at 0, equitune at infinity. One number."""

    name, label, colour, kind = "soft_equizero", "soft equizero", "#56B4E9", Kind.SOFT_CHOICE
    needs_loss = needs_temperature = True

    def weighting(self, parts: Parts) -> equitune.Weighting:
        """Return the soft choice."""
        import equitune

        loss = self.require(parts.loss, "a proxy loss")
        return equitune.SoftSelect(loss, self.require(parts.temperature, "a temperature"))


class PriorLambda(Method):
    """Lambda is the likelihood that gx is upright, by a network that learned without labels.

    The prior of Mondal et al. (NeurIPS 2023), on the features of gx.
    """

    name, label, colour = "prior_lambda", "prior lambda", "#AA4499"
    kind, needs_net, needs_pose = Kind.LEARNED_MEAN, True, True

    def weighting(self, parts: Parts) -> equitune.Weighting:
        """Return the mean with the likelihoods as weights."""
        import equitune

        net = self.require(parts.net, "a network that knows upright views")
        return equitune.Learned(net, parts.features, reads=parts.reads)


class Canonicalizer(Method):
    """The view that is most likely upright, by the network of `PriorLambda`."""

    name, label, colour = "canonicalizer", "canonicalizer", "#882255"
    needs_net = needs_pose = True

    def weighting(self, parts: Parts) -> equitune.Weighting:
        """Return the choice."""
        import equitune

        rank = self.require(parts.rank, "a network that knows upright views")
        return equitune.Select(rank, reads=parts.reads)


class EarlyExit(Canonicalizer):
    """The view that is most likely upright by the first part of the model, before the rest runs.

    It costs |G| passes of the first part, and one of the rest.
    """

    name, label, colour, needs_stem = "early_exit", "early exit", "#DDCC77", True


class Distance(Method):
    """The view whose features are most usual among those of training data, without labels."""

    name, label, colour, needs_reference = "distance", "distance", "#999933", True

    def weighting(self, parts: Parts) -> equitune.Weighting:
        """Return the choice."""
        import equitune

        rank = self.require(parts.rank, "a distance from training data")
        return equitune.Select(rank, reads=parts.reads)


class Augmented(Pretrained):
    """M(x), after training on transformed data: no group, one pass."""

    name, label, colour, augments = "augmented", "augmented", "#117733", True


class AugmentedEquitune(Equitune):
    """The mean over the orbit of a model that was trained on transformed data."""

    name, label, colour = "augmented_equitune", "augmented, then equitune", "#661100"
    augments = True


#: The methods by name, in the order of tables and legends.
METHODS: dict[str, Method] = {}
#: Names of the paper's methods, for statements about a single one; not for dispatch.
PRETRAINED, EQUITUNE, EQUIZERO = Pretrained.name, Equitune.name, Equizero.name
LAMBDA_EQUITUNE, AUGMENTED = LambdaEquitune.name, Augmented.name


def register(method: Method) -> None:
    """Register a method for all code that runs or shows methods."""
    METHODS[method.name] = method


_PAPERS: tuple[Method, ...] = (Pretrained(), Equitune(), Equizero(), LambdaEquitune())
_OTHERS: tuple[Method, ...] = (
    *(SoftEquizero(), PriorLambda(), Canonicalizer(), EarlyExit(), Distance()),
    *(Augmented(), AugmentedEquitune()),
)
for _method in (*_PAPERS, *_OTHERS):
    register(_method)
#: The paper's methods; others are shown where they have rows.
PAPERS = tuple(method.name for method in _PAPERS)


def own_group(method: str, group: str) -> str:
    """Return the group in the rows of a method, given the ``group`` of the other methods."""
    return group if METHODS[method].uses_group else "trivial"


def find_method(name: str) -> Method:
    """Return a method.

    Raises:
        UserError: If there is none of this name.
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]
