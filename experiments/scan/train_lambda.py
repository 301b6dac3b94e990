"""Stage ``lambda``: weights of a command's views (ours; the paper has none for SCAN).

The network of lambda-equitune reads the encoder's last state of gx and is trained on the training
pairs with the sequence-to-sequence model frozen: it maximises the likelihood of the targets under
Eq. 4, with the branches teacher forced. Test commands are not used, but their orbits are, because
the swap of "run twice" is "jump twice": the network can learn which of the two the model translates
better.

That of the prior lambda learns, without targets, which view was met in training: "run twice" was,
its swap "jump twice" was not. So the commands of training are upright here, and those of its orbit
are turned. Commands that the group does not change teach it nothing.

The temperature of a soft choice maximises the same likelihood on held-out pairs: of training pairs
the model is equally sure. The weights are those of decoding, from the sequences that the branches
write by themselves, as weights from teacher-forced branches would depend on the target. Half of the
held-out pairs choose the temperature, the other half tells its gain.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

import equitune
from experiments.frame.fields import given
from experiments.lambdas import Gain, build_net, compare, fit_lambda, fit_temperature
from experiments.scan.data import (
    EOS,
    Corpus,
    WordActions,
    generator,
    load_data,
    word_actions,
)
from experiments.scan.nets.model import EncoderDecoder
from experiments.scan.pretrain import load_model
from experiments.scan.translate import CommandWeights, branch_losses

if TYPE_CHECKING:
    from experiments.frame.options import LambdaNetConfig
    from experiments.frame.records import Run
    from experiments.scan.options import ScanConfig

NET = "lambda.safetensors"
#: The name of a stored temperature.
TEMPERATURE = "temperature"
#: Exponents of ten of the lowest and the highest temperature; losses differ by less than one.
_EXPONENTS = (-6, 2)
_ORDER = 10
_BOOTSTRAP = 11
_HALVES = 12
#: Resamples of the bootstrap interval.
RESAMPLES = 2000


class Views(NamedTuple):
    """Outputs of the frozen model on the orbits of a corpus, teacher forced and after g^-1.

    Attributes:
        features: Encoder's last state of gx, [G, N, F].
        log_probs: Log-probabilities of each next word, g^-1 M(gx), [G, N, T, V].
        targets: The true words, [N, T].
        counted: True up to and including the target's end, [N, T].
    """

    features: Float[Tensor, "group pairs width"]
    log_probs: Float[Tensor, "group pairs steps words"]
    targets: Int[Tensor, "pairs steps"]
    counted: Bool[Tensor, "pairs steps"]

    def take(self, rows: Tensor) -> Views:
        """Return the views of some pairs."""
        return Views(
            self.features[:, rows], self.log_probs[:, rows], self.targets[rows], self.counted[rows]
        )


@torch.no_grad()
def collect_views(model: EncoderDecoder, corpus: Corpus, actions: WordActions) -> Views:
    """Run the frozen model once over the orbits of a corpus.

    Args:
        model: The pretrained model, in evaluation mode.
        corpus: Pairs of commands and targets.
        actions: The group's action on words.
    """
    order, steps = actions.commands.group.order, max(len(target) for target in corpus.targets)
    features = torch.zeros(order, len(corpus), 2 * model.hidden)
    log_probs = torch.zeros(order, len(corpus), steps, model.out_words)
    targets = torch.full((len(corpus), steps), EOS)
    counted = torch.zeros(len(corpus), steps, dtype=torch.bool)
    for batch in corpus.batches():
        size = batch.targets.shape[1]
        commands = actions.commands.orbit(batch.commands).flatten(0, 1).to(model.device)
        words = actions.words.orbit(batch.targets).flatten(0, 1).to(model.device)
        scores = model.forward_teacher(commands, words).cpu()
        scores = scores.reshape(order, len(batch.rows), size, -1)
        hidden = model.encode(commands).hidden.cpu()
        features[:, batch.rows] = hidden.reshape(order, len(batch.rows), -1)
        log_probs[:, batch.rows, :size] = actions.distributions.undo(scores)
        targets[batch.rows, :size] = batch.targets
        ends = batch.targets == EOS
        counted[batch.rows, :size] = ends.cumsum(dim=1) - ends.to(torch.int64) == 0
    return Views(features, log_probs, targets, counted)


def negative_log_likelihood(
    views: Views, weights: Float[Tensor, "group pairs"] | None, space: str
) -> Float[Tensor, " pairs"]:
    """Return -log p(target | command) of the averaged model, in nats per command.

    Args:
        views: The branches' distributions.
        weights: lambda(gx), [G, N]; None is uniform.
        space: The averaged quantity: ``probabilities``, ``log_probabilities`` or ``logits``, whose
            mean is normalised over the words.
    """
    true_words = views.targets[..., None]
    if space == "probabilities":  # only for the true words, as probabilities need no normalisation
        true = views.log_probs.gather(-1, true_words.expand(len(views.log_probs), -1, -1, -1))
        mean = equitune.average(true.squeeze(-1).double().exp(), weights)
        chosen = mean.clamp_min(torch.finfo(torch.float64).tiny).log()
    else:
        combined = equitune.average(views.log_probs.double(), weights).log_softmax(dim=-1)
        chosen = combined.gather(-1, true_words).squeeze(-1)
    return -(chosen * views.counted).sum(dim=-1)


def train_lambda(
    run: Run,
    views: Views,
    config: LambdaNetConfig,
    space: str,
    seed: int,
    prior: equitune.FiniteGroup | None = None,
    task_weight: float = 1.0,
) -> equitune.LambdaNet:
    """Train the network lambda on the views of the training pairs; see `fit_lambda`.

    Args:
        run: The run in progress.
        views: From :func:`collect_views` on the training pairs.
        config: Network, optimiser (Adam), steps and batch size.
        space: The space of the average.
        seed: Seed of initialisation, dropout and the order of pairs.
        prior: The group, to learn which view is the identity's; None: no such prior.
        task_weight: Weight of the likelihood; 0: targets are not read.

    Returns:
        The network, in evaluation mode.
    """

    def loss(net: equitune.LambdaNet, rows: Tensor) -> Tensor:
        batch, total = views.take(rows), torch.zeros(())
        weights = net(batch.features)
        if prior is not None:
            total = total + equitune.prior_loss(weights, prior)
        if task_weight:
            nll = negative_log_likelihood(batch, weights, space).mean()
            total = total + task_weight * nll
        return total

    width, count = views.features.shape[-1], len(views.targets)
    order = generator(seed, _ORDER)
    return fit_lambda(run, config, width, count, loss, seed=seed, order=order)


@torch.no_grad()
def held_out_gain(views: Views, net: equitune.LambdaNet, space: str, seed: int) -> Gain:
    """Compare learned with uniform weights, per pair, on pairs that neither network has seen."""
    learned = negative_log_likelihood(views, net(views.features), space).numpy()
    uniform = negative_log_likelihood(views, None, space).numpy()
    return compare(learned, uniform, generator(seed, _BOOTSTRAP), RESAMPLES)


def weigh(config: ScanConfig, run: Run) -> None:
    """Fit the weights, and compare them with uniform ones on held-out pairs."""
    model = load_model(config, run)
    data = load_data(config.dataset.name, config.seed, config.task.max_commands)
    actions, space = word_actions(config.group), given(config.task.space)
    unseen = data.validation.without(data.train)
    held_out = collect_views(model, unseen, actions)
    settings = config.method.lambda_net
    if settings is None:
        losses = branch_losses(model, config.group, config.task, unseen)
        temperature, gain = fit_soft_choice(held_out, losses, space, config.seed)
        run.row("temperature", temperature, split="validation")
        state = {TEMPERATURE: torch.tensor(temperature, dtype=torch.float64)}
    else:
        learned = collect_views(model, data.train, actions)
        prior = actions.commands.group if config.method.entry.needs_pose else None
        weight = config.method.labels_weight
        net = train_lambda(run, learned, settings, space, config.seed, prior, weight)
        if prior is not None:
            _write_upright(run, held_out, net, prior.identity)
        gain, state = held_out_gain(held_out, net, space, config.seed), net.state_dict()
    gain.write(run, "nll")
    run.fact("device", "cpu")
    run.save(NET, state, {} if settings is None else dataclasses.asdict(settings))


@torch.no_grad()
def _write_upright(run: Run, held_out: Views, net: equitune.LambdaNet, identity: int) -> None:
    """Write in how many percent of held-out commands the identity has the largest weight.

    Commands that the group does not change have equal weights and do not count.
    """
    weights = net(held_out.features)
    moved = (held_out.features != held_out.features[:1]).any(dim=-1).any(dim=0)
    found = (weights.argmax(dim=0) == identity)[moved].double()
    if len(found):
        run.row("upright_found", 100 * float(found.mean()), split="validation")


@torch.no_grad()
def fit_soft_choice(
    views: Views, losses: Float[Tensor, "group pairs"], space: str, seed: int
) -> tuple[float, Gain]:
    """Return the likeliest temperature of a soft choice, and its gain over uniform weights.

    Args:
        views: From :func:`collect_views` on held-out pairs; every other one is used for each.
        losses: Proxy losses of their views.
        space: The space of the average.
        seed: Seed of the bootstrap.
    """

    def nll(rows: Tensor, temperature: float | None) -> Tensor:
        soft = equitune.soft_select_weights
        weights = None if temperature is None else soft(losses[:, rows], temperature)
        return negative_log_likelihood(views.take(rows), weights, space)

    order = generator(seed, _HALVES).permutation(len(views.targets))
    chosen, judged = (torch.from_numpy(order[start::2]) for start in (0, 1))
    best = fit_temperature(lambda value: float(nll(chosen, value).mean()), *_EXPONENTS)
    learned, uniform = (nll(judged, value).numpy() for value in (best, None))
    return best, compare(learned, uniform, generator(seed, _BOOTSTRAP), RESAMPLES)


def load_temperature(config: ScanConfig, run: Run) -> float | None:
    """Return the temperature of a soft choice, given or fitted; None for other methods."""
    if not config.method.fits_temperature:
        return config.method.temperature
    tensors, _ = run.need("lambda").tensors(NET)
    return float(tensors[TEMPERATURE])


def load_weights(config: ScanConfig, run: Run, model: EncoderDecoder) -> CommandWeights | None:
    """Return lambda from the run that trained it; None for methods without a network.

    Args:
        config: The configuration.
        run: The run in progress, which needs lambda.
        model: The pretrained model, which gives the features; if it is to be fine-tuned, a copy.
    """
    settings = config.method.lambda_net
    if settings is None:
        return None
    tensors, _ = run.need("lambda").tensors(NET)
    net = build_net(2 * model.hidden, settings)
    net.load_state_dict(tensors)
    frozen = model if config.task.finetune is None else copy.deepcopy(model)
    return CommandWeights(frozen.eval(), net.eval())
