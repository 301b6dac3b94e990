"""A model made equivariant: orbit, one batched pass, undo, combine (Eq. 4)."""

from __future__ import annotations

from jaxtyping import Shaped
from torch import Tensor, nn

from equitune.actions import Action
from equitune.checks import check_input, check_output
from equitune.rules import Identity, Uniform, Views, Weighting


class Equivariant(nn.Module):
    """M_G(x) = sum_g lambda(gx) g^-1 M(gx) / sum_g lambda(gx), for any model M (Eq. 4, Theorem 1).

    All |G| views go through the model as one batch of |G| * B. With the trivial group, or the
    `Identity` rule, the model is called on x itself, so the output is that of the bare model bit
    for bit.

    Exact equivariance holds in evaluation mode. In training mode dropout draws a new mask for every
    view, and batch normalisation uses the statistics of all views together: a sample's output then
    depends on the other samples, and the running averages are those of the orbits.

    The state dict holds the model under "model." and learned weights under "weighting.".
    """

    def __init__(
        self,
        model: nn.Module,
        action_in: Action,
        action_out: Action,
        weighting: Weighting | None = None,
    ) -> None:
        """Wrap a model with the actions on its inputs and outputs.

        Args:
            model: M, maps [N, ...] to one tensor [N, ...].
            action_in: How the group acts on inputs.
            action_out: How the same group acts on outputs; `Invariant(group)` for class logits.
            weighting: lambda. Default None means `Uniform()`, equitune.

        Raises:
            TypeError: If an action or the weighting has another type; with what to write instead.
            ValueError: If the groups of the actions, or of the weighting, differ.
        """
        super().__init__()
        for name, action in (("action_in", action_in), ("action_out", action_out)):
            if not isinstance(action, Action):
                raise TypeError(
                    f"{name} must be an Action, as Rot90() is, got {_described(action)}"
                )
        if weighting is not None and not isinstance(weighting, Weighting):
            raise TypeError(
                "weighting must be a Weighting: Uniform(), Select(losses.max_probability) or "
                f"Learned(LambdaNet(...), features), got {_described(weighting)}"
            )
        if action_in.group != action_out.group:
            raise ValueError(
                f"both actions must be of one group, got {action_in.group!r} on inputs "
                f"and {action_out.group!r} on outputs"
            )
        weighting = Uniform() if weighting is None else weighting
        if weighting.group is not None and weighting.group != action_in.group:
            raise ValueError(
                f"the weighting is for {weighting.group!r}, the actions for {action_in.group!r}"
            )
        self.model = model
        self.action_in = action_in
        self.action_out = action_out
        self.weighting = weighting
        # Both need only M(x): e x = x, and the other |G| - 1 views are not used.
        self._is_bare = action_in.group.order == 1 or isinstance(weighting, Identity)

    def forward(self, x: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        """Return M_G(x).

        Args:
            x: A batch of inputs, [B, ...].

        Returns:
            The combined outputs, [B, ...].

        Raises:
            TypeError: If x is no tensor, or the model does not return one.
            ValueError: If x has no batch dim, an action does not suit x or the output, or the model
                does not return one output per view.
        """
        check_input(x)
        if self._is_bare:
            return check_output(self.model(x), len(x), "inputs")
        combined: Tensor = self.weighting(self.views(x))
        return combined

    def views(self, x: Shaped[Tensor, "batch ..."]) -> Views:
        """Return gx, M(gx) and g^-1 M(gx) for every g, each [G, B, ...].

        Args:
            x: A batch of inputs, [B, ...].

        Raises:
            TypeError: As `forward`.
            ValueError: As `forward`.
        """
        check_input(x)
        inputs = self.action_in.orbit(x)
        count = inputs.shape[0] * inputs.shape[1]
        flat = check_output(self.model(inputs.flatten(0, 1)), count, f"views of {len(x)} inputs")
        outputs = flat.reshape(*inputs.shape[:2], *flat.shape[1:])
        return Views(inputs, outputs, self.action_out.undo(outputs))


def _described(value: object) -> str:
    """Return the type of a value for a message; for a class, with the likely correction."""
    if isinstance(value, type):
        return f"the class {value.__name__}; write {value.__name__}(...)"
    name = getattr(value, "__name__", type(value).__name__)
    return f"{value!r}" if isinstance(value, str) else f"{name}"
