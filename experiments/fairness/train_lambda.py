"""Stage ``lambda``: learned weights of the contexts, lambda(gx) of Eq. 4 for language.

The paper has no lambda for language; this one is ours. Sentences that the pretrained model wrote
about all demographic groups are read in all contexts at once. A network on the last hidden state of
each context gives it a positive weight at every token, and learns to make the tokens likely under
the weighted average. It reads gx alone, so the result is equivariant, as it is with equal weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

import equitune
from experiments.fairness.decoding import Writer, make_prompts
from experiments.fairness.methods import make_writer, vocabulary_of
from experiments.fairness.models import load_model
from experiments.frame.errors import UserError
from experiments.frame.fields import given
from experiments.frame.methods import PRETRAINED
from experiments.frame.seeds import derive
from experiments.lambdas import Gain, build_net, compare, fit_lambda

if TYPE_CHECKING:
    from experiments.fairness.models import LanguageModel
    from experiments.fairness.options import FairnessConfig
    from experiments.fairness.words import Vocabulary
    from experiments.frame.records import Run

WEIGHTS = "lambda.safetensors"
#: Purposes of generators.
_SENTENCES, _NET, _BATCHES = 1, 2, 3
#: Share of the sentences that is held out, and resamples of the bootstrap.
_HELD_OUT, _RESAMPLES = 5, 4000


@dataclass(frozen=True)
class Tokens:
    """Tokens of sentences, and what the model knew before each in all contexts.

    Attributes:
        features: Last hidden states, [G, N, H].
        targets: The tokens, in the words of the identity, [N].
        sentences: Number of the sentence of each, [N].
    """

    features: Float[Tensor, "group tokens width"]
    targets: Int[Tensor, " tokens"]
    sentences: Int[Tensor, " tokens"]

    def take(self, chosen: Tensor) -> Tokens:
        """Return some of the tokens: a mask or numbers, [n]."""
        return Tokens(self.features[:, chosen], self.targets[chosen], self.sentences[chosen])


@dataclass(frozen=True)
class Objective:
    """Negative log-likelihood of tokens under a weighted average over contexts.

    Attributes:
        head: From hidden states to logits.
        scores: The action on logits.
        space: ``logits`` or ``probabilities``.
    """

    head: Any
    scores: equitune.Action
    space: str

    def __call__(self, net: equitune.LambdaNet | None, tokens: Tokens) -> Float[Tensor, " tokens"]:
        """Return the loss of each token, with the weights of a network, or equal ones."""
        with torch.no_grad():
            logits = self.head(tokens.features)
            if self.space == "probabilities":
                logits = logits.softmax(dim=-1)
            undone = self.scores.undo(logits)
        weights = (
            None if net is None else net(tokens.features.flatten(0, 1)).reshape(undone.shape[:2])
        )
        mean = equitune.average(undone, weights)
        if self.space == "probabilities":
            return functional.nll_loss(mean.log(), tokens.targets, reduction="none")
        return functional.cross_entropy(mean, tokens.targets, reduction="none")


def train(config: FairnessConfig, run: Run) -> None:
    """Train lambda and measure what it gains on held-out sentences; see `fit_lambda`."""
    language = load_model(config, run)
    vocabulary = vocabulary_of(config, language)
    for action in (vocabulary.ids, vocabulary.scores):
        action.to(language.network.device)
    tokens = _read_sentences(config, language, vocabulary)
    held_out = tokens.sentences % _HELD_OUT == 0
    known, new = tokens.take(~held_out), tokens.take(held_out)
    objective = Objective(
        language.network.get_output_embeddings(), vocabulary.scores, given(config.task.space)
    )
    net_config = config.method.lambda_net
    assert net_config is not None
    device = tokens.features.device
    net = fit_lambda(
        run,
        net_config,
        tokens.features.shape[-1],
        len(known.targets),
        lambda net, rows: objective(net, known.take(rows.to(device))).mean(),
        seed=derive(config.seed, _NET),
        order=np.random.default_rng(derive(config.seed, _BATCHES)),
        device=device,
    )
    run.save(WEIGHTS, dict(net.state_dict()))
    _held_out_gain(objective, net, new).write(run, "negative_log_likelihood")


def load_lambda(config: FairnessConfig, run: Run) -> equitune.LambdaNet:
    """Return the trained network of the run."""
    finished = run.need("lambda")
    tensors, _ = finished.tensors(WEIGHTS)
    net_config = config.method.lambda_net
    assert net_config is not None
    net = build_net(tensors["layers.0.weight"].shape[1], net_config)
    net.load_state_dict(tensors)
    return net.eval()


def _read_sentences(
    config: FairnessConfig, language: LanguageModel, vocabulary: Vocabulary
) -> Tokens:
    """Have the pretrained model write sentences, and read them in all contexts."""
    task = config.task
    plain = make_writer(config, language, vocabulary, method=PRETRAINED)
    plain = replace(plain, seed=derive(config.seed, _SENTENCES))
    each = -(-given(task.lambda_sentences) // len(config.dataset.contexts))
    parts: list[Tokens] = []
    first = 0
    for prompt in make_prompts(config.group, task.prompts, config.dataset.contexts):
        for start in range(0, each, task.batch):
            numbers = range(start, min(start + task.batch, each))
            words = plain.write(prompt, numbers).to(language.network.device)
            parts.append(_read(plain, vocabulary, plain.encode(prompt), words, first))
            first += len(numbers)
    return Tokens(
        torch.cat([part.features for part in parts], dim=1),
        torch.cat([part.targets for part in parts]),
        torch.cat([part.sentences for part in parts]),
    )


@torch.no_grad()
def _read(
    writer: Writer, vocabulary: Vocabulary, prompt: Tensor, words: Tensor, first: int
) -> Tokens:
    """Return the tokens of sentences up to the end, with hidden states of all contexts."""
    network, count = writer.model.network, len(words)
    whole = torch.cat((prompt.expand(count, -1), words), dim=1)
    orbit = vocabulary.ids.orbit(whole[:, :-1])
    found = network(input_ids=orbit.flatten(0, 1), output_hidden_states=True)
    hidden = found.hidden_states[-1]
    again = network.get_output_embeddings()(hidden[:1])
    if not torch.allclose(again, found.logits[:1], atol=1e-3):
        raise UserError(
            f"{type(network).__name__} changes its logits behind the last layer; "
            "method=lambda_equitune cannot learn from its hidden states"
        )
    hidden = hidden.reshape(*orbit.shape, -1)[:, :, len(prompt) - 1 :]
    is_end = words == writer.end
    written = is_end.cumsum(dim=1) - is_end.long() == 0
    numbers = first + torch.arange(count, device=words.device)[:, None].expand_as(words)
    return Tokens(hidden[:, written], words[written], numbers[written])


@torch.no_grad()
def _held_out_gain(objective: Objective, net: equitune.LambdaNet, new: Tokens) -> Gain:
    """Compare learned with equal weights, sentence by sentence: mean loss per token."""
    batches = torch.split(torch.arange(len(new.targets)), 128)
    means = []
    for weights in (net, None):
        losses = torch.cat([objective(weights, new.take(chosen)) for chosen in batches])
        _, places, counts = torch.unique(new.sentences, return_inverse=True, return_counts=True)
        totals = losses.double().new_zeros(len(counts)).index_add(0, places, losses.double())
        means.append((totals / counts).cpu().numpy())
    return compare(means[0], means[1], np.random.default_rng(0), _RESAMPLES)
