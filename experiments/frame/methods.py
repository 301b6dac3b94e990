"""The methods: the registry of their names and properties.

A task provides the parts that a method may use: the group, a proxy loss, the network lambda. The
method builds its weighting of Eq. 4 from them. Another method is a subclass of `Method` and a line
of `METHODS` (or a call of `register` in a file of the user's own), and an option in
``conf/method/``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from experiments.frame.errors import UserError, unknown

if TYPE_CHECKING:
    import equitune


class Kind(Enum):
    """How the views are combined, for code that never holds all of them at once.

    Decoders of language and SCAN combine views step by step, and serve the first four kinds.
    """

    OWN_VIEW = "the view of the identity"
    MEAN = "the mean of the views"
    CHOICE = "one view, by a proxy loss"
    LEARNED_MEAN = "the mean with weights that a network gives"
    OTHER = "another weighting of a whole orbit"


@dataclass(frozen=True)
class Parts:
    """The parts that a task provides for the weighting of a method.

    Attributes:
        group: The group.
        loss: Proxy loss of raw outputs [G, B, ...], lower is better, [G, B]; see `equitune.losses`.
        net: The network lambda, from features [N, F] to positive weights [N].
        features: From inputs [N, ...] to the features that ``net`` reads; None: the inputs.
        straight_through: Gradients of a selection; see `equitune.Select`.
    """

    group: equitune.FiniteGroup
    loss: Callable[..., Any] | None = None
    net: Any = None
    features: Callable[..., Any] | None = None
    straight_through: str | None = None


class Method(ABC):
    """A method and its properties.

    Attributes:
        name: The value of ``method=``.
        label: Label in figures.
        colour: Colour in figures, for matplotlib.
        kind: How the views are combined.
        needs_loss: Whether it reads a proxy loss (``task.loss`` and related options).
        needs_net: Whether it trains a network, ``method.lambda_net``.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    colour: ClassVar[str]
    kind: ClassVar[Kind] = Kind.OTHER
    needs_loss: ClassVar[bool] = False
    needs_net: ClassVar[bool] = False

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

    name, label, colour = "lambda_equitune", "lambda_equitune", "#009E73"
    kind, needs_net = Kind.LEARNED_MEAN, True

    def weighting(self, parts: Parts) -> equitune.Weighting:
        """Return the learned mean."""
        import equitune

        return equitune.Learned(self.require(parts.net, "lambda"), parts.features)


#: The methods by name, in the order of tables and legends.
METHODS: dict[str, Method] = {}
#: Names of the paper's methods, for statements about a single one; not for dispatch.
PRETRAINED, EQUITUNE, EQUIZERO = Pretrained.name, Equitune.name, Equizero.name
LAMBDA_EQUITUNE = LambdaEquitune.name


def register(method: Method) -> None:
    """Register a method for all code that runs or shows methods."""
    METHODS[method.name] = method


for _method in (Pretrained(), Equitune(), Equizero(), LambdaEquitune()):
    register(_method)
#: The methods of the paper and of the presets; others are shown if they have rows.
PAPERS = tuple(METHODS)


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


def named(having: Callable[[Method], bool]) -> str:
    """Return the names of the methods that have a property, for messages."""
    return ", ".join(name for name, method in METHODS.items() if having(method))


def cannot_serve(task: str, method: Method, served: Iterable[Kind]) -> UserError:
    """Return the error for a method whose kind a task has no code for."""
    kinds = set(served)
    return UserError(
        f"task={task} cannot run method={method.name} ({method.kind.value}); choose from: "
        f"{named(lambda known: known.kind in kinds)}"
    )


def one_view(method: Method) -> UserError:
    """Return the error for a method that would weigh the only view of the trivial group."""
    return UserError(
        f"method={method.name} has one view to weigh in group=trivial; choose method={PRETRAINED}"
    )


def no_lambda(method: Method) -> UserError:
    """Return the error for a stage of lambda with a method without lambda."""
    learning = named(lambda known: known.needs_net)
    return UserError(f"stage=lambda belongs to method={learning}, not to method={method.name}")
