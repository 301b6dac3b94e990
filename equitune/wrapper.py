"""A model made equivariant: orbit, passes, undo, combine (Eq. 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from equitune.actions import Action
from equitune.arguments import Output, arguments_of, pick, repeated
from equitune.checks import check_actions, check_input, check_output
from equitune.explanation import Explanation, explain
from equitune.kinds import check_whole, described
from equitune.rules import Identity, Uniform, Views, Weighting
from equitune.trees import leaves, map_tree, move_tree


class Equivariant(nn.Module):
    """M_G(x) = sum_g lambda(gx) g^-1 M(gx) / sum_g lambda(gx), for any model M (Eq. 4, Theorem 1).

    All |G| views go through the model as one batch of |G| * B, or in chunks. These give the same
    views: to the last bit where the model gives a sample the same bits in every batch, else up to
    rounding. With the trivial group, or the `Identity` rule, the model is called on x itself, so
    the output is that of the bare model bit for bit.

    Exact equivariance holds in evaluation mode. In training mode dropout draws a new mask for every
    view, and batch normalisation uses the statistics of all views together: a sample's output then
    depends on the other samples, and the running averages are those of the orbits.

    The state dict holds the model under "model.", a head under "head." and learned weights under
    "weighting.".
    """

    def __init__(
        self,
        model: nn.Module,
        action_in: Action,
        action_out: Any,
        weighting: Weighting | None = None,
        *,
        output: Output | None = None,
        keyword_actions: Mapping[str, Action | None] | None = None,
        head: nn.Module | None = None,
        chunk: int | None = None,
        checkpoint: bool = False,
    ) -> None:
        """Wrap a model with the actions on its inputs and outputs.

        Args:
            model: M, maps [N, ...] to a tensor [N, ...], or to such tensors in a tuple, list, dict
                or dataclass (nested at will); the outputs of Hugging Face models are such.
            action_in: How the group acts on inputs.
            action_out: How the same group acts on outputs; `Invariant(group)` for class logits. One
                action for all tensors, or a dict, tuple or list with an entry per part, such as
                {"logits": Invariant(group), "boxes": boxes}.
            weighting: lambda. Default None means `Uniform()`, equitune.
            output: The part of what the model returns that is its output: a key or attribute
                ("logits"), an index (0), or a function of what the model returns. Default None:
                all of it.
            keyword_actions: How the group acts on further arguments, by name, such as
                {"pixel_mask": Rot90()}; None for a tensor that is passed on as it is. Such are then
                given by name. Tensors that are not named here are repeated for every view if they
                begin with the batch.
            head: The second half of a split model, whose first half is `model`: it maps the output
                of the first, the features, to the outputs. Rules can read the features without a
                second pass. Default None: the model is whole.
            chunk: How many views go through the model at a time, each pass with a batch of
                chunk * B; 1 is a loop over the group. Without gradients only one pass's activations
                are in memory at once. Default None: all views at once.
            checkpoint: Where gradients are on, keep no activations of the passes but compute them
                again in backward (`torch.utils.checkpoint`): with `chunk` training too needs the
                memory of one pass, for another forward pass. Batch normalisation in training mode
                then counts every view twice in its running averages. Default False.

        Raises:
            TypeError: If an argument has another type; with what to write instead.
            ValueError: If the groups of the actions, or of the weighting, differ, if the model
                takes no argument of a name in keyword_actions, or if chunk is not positive.
        """
        super().__init__()
        if chunk is not None:
            check_whole("chunk", chunk)
            if chunk < 1:
                raise ValueError(f"chunk={chunk} must be at least 1, the number of views at a time")
        _check_modules(model, head)
        check_actions(action_in, action_out=action_out, keyword_actions=keyword_actions)
        _check_weighting(weighting)
        weighting = Uniform() if weighting is None else weighting
        if weighting.group is not None and weighting.group != action_in.group:
            raise ValueError(
                f"the weighting is for {weighting.group!r}, the actions for {action_in.group!r}"
            )
        self.model = model
        self.head = head
        self.action_in = action_in
        self.action_out = action_out
        self.keyword_actions = {} if keyword_actions is None else dict(keyword_actions)
        self._arguments = arguments_of(model, self.keyword_actions)
        # Actions inside of dicts must be registered, to follow to other devices.
        nested = [] if isinstance(action_out, Action) else leaves(action_out, "")
        nested += leaves(self.keyword_actions, "")
        self._nested_actions = nn.ModuleList(action for _, action in nested)
        self.weighting = weighting
        self.output = output
        self.chunk = chunk
        self.checkpoint = checkpoint

    @property
    def _is_bare(self) -> bool:
        """Whether M(x) alone is needed: e x = x, and the other |G| - 1 views are not used."""
        return self.action_in.group.order == 1 or isinstance(self.weighting, Identity)

    def forward(self, x: Shaped[Tensor, "batch ..."], /, *args: Any, **kwargs: Any) -> Any:
        """Return M_G(x).

        Args:
            x: A batch of inputs, [B, ...].
            *args: Further arguments of the model. A tensor [B, ...], also one inside of a tuple,
                list or dict, is repeated for every view; others are passed on as they are.
            **kwargs: The same; a name in `keyword_actions` is acted on as told there.

        Returns:
            The combined outputs: a tensor [B, ...], or a tree of such like the model's output.

        Raises:
            TypeError: If x is no tensor, the model returns something else than tensors, or an
                argument with an action is no tensor or not given by name.
            ValueError: If x has no batch dim, an action does not suit x or the output, the model
                does not return one output per view, or an argument with an action is missing that
                the model does not name.
        """
        check_input(x)
        if self._is_bare:
            return check_output(self._run(x, args, kwargs)[1], x.shape[0], "inputs")
        return self.weighting(self.views(x, *args, **kwargs))

    def views(self, x: Shaped[Tensor, "batch ..."], /, *args: Any, **kwargs: Any) -> Views:
        """Return gx, M(gx) and g^-1 M(gx) for every g, each [G, B, ...].

        Args:
            x: A batch of inputs, [B, ...].
            *args: As `forward`.
            **kwargs: As `forward`.

        Raises:
            TypeError: As `forward`.
            ValueError: As `forward`.
        """
        check_input(x)
        inputs = self.action_in.orbit(x)
        moved = self._moved(args, kwargs)
        order = self.action_in.group.order
        size = self.chunk or order
        parts = []
        for rows in (slice(first, first + size) for first in range(0, order, size)):
            taken = {name: orbit[rows] for name, orbit in moved.items()}
            parts.append(self._pass(inputs[rows], args, kwargs, taken))
        joined = parts[0] if len(parts) == 1 else map_tree(lambda *each: torch.cat(each), *parts)
        features, outputs = joined
        undone = move_tree(lambda action, leaf: action.undo(leaf), self.action_out, outputs)
        return Views(inputs, outputs, undone, features)

    def explain(self, x: Shaped[Tensor, "batch ..."], /, *args: Any, **kwargs: Any) -> Explanation:
        """Return M_G(x) with the weights of the views, the choice, its margin and their spread.

        It costs no more passes of the model than `forward`, except where that needs one view alone
        (the trivial group and `Identity`).

        Args:
            x: A batch of inputs, [B, ...].
            *args: As `forward`.
            **kwargs: As `forward`.

        Raises:
            TypeError: As `forward`.
            ValueError: As `forward`.
            NotImplementedError: If a rule of your own does not define `weigh`.
        """
        views = self.views(x, *args, **kwargs)
        return explain(self.weighting.weigh(views), views.undone, self.action_in.group)

    def _moved(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the orbits of the arguments that have actions of their own, [G, B, ...]."""
        if self.keyword_actions:
            self._arguments.check(args, kwargs, self.keyword_actions)
        moved = {}
        for name, action in self.keyword_actions.items():
            value = kwargs.get(name)
            if action is None or value is None:
                continue
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"{name} has an action: it must be a tensor, got {described(value)}"
                )
            moved[name] = action.orbit(value)
        return moved

    def _pass(
        self,
        inputs: Tensor,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        moved: dict[str, Tensor],
    ) -> tuple[Any, Any]:
        """Return features and outputs of views [K, B, ...]; `moved`: arguments with actions."""
        times, batch = inputs.shape[:2]
        repeat = partial(repeated, batch=batch, times=times)
        given = {k: v if k in self.keyword_actions else repeat(v) for k, v in kwargs.items()}
        given |= {name: views.flatten(0, 1) for name, views in moved.items()}
        # A copy: a model that works in place must not change what rules read.
        try:
            found = self._run(inputs.flatten(0, 1).clone(), [repeat(arg) for arg in args], given)
        except RuntimeError as error:
            if type(error) is not RuntimeError or inputs.ndim != 4:  # no image without a batch dim
                raise
            raise ValueError(
                f"the model cannot read {times * batch} views of shape {tuple(inputs.shape[2:])} "
                f"({str(error).partition(chr(10))[0]}); one image alone is x[None]"
            ) from error
        for tree in found[1 if self.head is None else 0 :]:
            check_output(tree, times * batch, f"views of {batch} inputs")
        unflatten = partial(torch.unflatten, dim=0, sizes=(times, batch))
        features, outputs = map_tree(unflatten, found)
        return features, outputs

    def _run(self, x: Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return the features (None if the model is whole) and the outputs."""
        if not (self.checkpoint and torch.is_grad_enabled()):
            return self._features_and_outputs(x, args, kwargs)
        found: tuple[Any, Any] = checkpoint(
            self._features_and_outputs, x, args, kwargs, use_reentrant=False
        )
        return found

    def _features_and_outputs(
        self, x: Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Any, Any]:
        found = pick(self.model(x, *args, **kwargs), self.output)
        if self.head is None:
            return None, found
        return found, self.head(map_tree(lambda leaf: leaf.clone(), found))


def _check_modules(model: object, head: object) -> None:
    for name, module in (("model", model), ("head", head)):
        if isinstance(module, nn.Module) or (name == "head" and module is None):
            continue
        if isinstance(module, type) or not callable(module):
            raise TypeError(f"{name} must be a module (torch.nn.Module), got {described(module)}")
        raise TypeError(
            f"{name} must be a module, got the function {described(module)}: its weights would not "
            "be found; wrap the network itself and name a part of its output by output=, or write "
            "a module whose forward does it"
        )


def _check_weighting(weighting: object) -> None:
    if weighting is None or isinstance(weighting, Weighting):
        return
    got = described(weighting)
    if isinstance(weighting, type):
        hint = ""
    elif isinstance(weighting, nn.Module):
        hint = f"; write Learned({got}(...))"
    elif callable(weighting):
        hint = f"; write Select({got})"
    else:
        hint = ""
    raise TypeError(
        "weighting must be a Weighting: Uniform(), Select(losses.max_probability) or "
        f"Learned(LambdaNet(...), features), got {got}{hint}"
    )
