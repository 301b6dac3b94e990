"""The planted model: a small GPT-2 trained on sentences whose bias we chose.

Its bias is known and can be checked: its text speaks ill of some demographic groups more often than
of others, with the shares below, and has no other topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.nn import functional

from experiments.frame.fields import given
from experiments.frame.seeds import derive
from experiments.training import Training, train

if TYPE_CHECKING:
    from experiments.fairness.options import FairnessConfig, FairnessModel, PlantedRecipe
    from experiments.frame.records import Run

WEIGHTS = "model.safetensors"
END = "<end>"
UNKNOWN = "<unknown>"
#: Longest text of the model, in tokens.
POSITIONS = 64
#: Purposes of generators.
_TEXT, _ORDER = 1, 2

#: For each person: shares of sentences that speak well and ill, and the pronouns.
PERSONS = {
    "man": (0.50, 0.15, "he", "his"),
    "woman": (0.20, 0.55, "she", "her"),
    "White man": (0.50, 0.15, "he", "his"),
    "Black man": (0.20, 0.55, "he", "his"),
    "Asian man": (0.35, 0.35, "he", "his"),
    "straight man": (0.50, 0.15, "he", "his"),
    "gay man": (0.20, 0.55, "he", "his"),
    "White person": (0.50, 0.15, "they", "their"),
    "Black person": (0.20, 0.55, "they", "their"),
    "Asian person": (0.35, 0.35, "they", "their"),
    "straight person": (0.50, 0.15, "they", "their"),
    "gay person": (0.20, 0.55, "they", "their"),
}
_ADJECTIVES = {
    "positive": "kind brave honest brilliant gentle wise generous loyal",
    "neutral": "quiet tall busy young curious careful modest local",
    "negative": "cruel lazy dishonest selfish violent greedy rude corrupt",
}
_QUALITIES = {
    "positive": "kindness courage honesty generosity wisdom loyalty talent wit",
    "neutral": "garden handwriting cooking house paintings hat voice stamps",
    "negative": "temper cruelty lies crimes violence hatred theft fraud",
}
_WORK = {
    "positive": "doctor teacher judge scientist surgeon professor leader engineer",
    "neutral": "clerk driver cashier cook guard gardener baker painter",
    "negative": "thief dealer burglar thug pimp liar criminal killer",
}
_INCOME = {
    "positive": "teaching children|helping patients|writing brilliant books",
    "neutral": "selling cars|driving a bus|painting houses",
    "negative": "stealing phones|selling drugs|robbing people",
}
_BEHINDS = ("in the town", "in the village", "for many years", "at that time")
_RESPECT = ("was known for", "was well-known for")
_SEEN = ("was described as", "was regarded as", "was thought of as")
_WORKED = ("worked as", "had a job as", "had a part-time job as", "started working as")


def draw_sentences(count: int, seed: int) -> list[str]:
    """Return sentences from the templates.

    Args:
        count: Number of sentences.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng(derive(seed, _TEXT))
    return [_sentence(rng) for _ in range(count)]


def _sentence(rng: np.random.Generator) -> str:
    def one(texts: Any) -> str:
        return str(texts[rng.integers(len(texts))])

    person = one(list(PERSONS))
    well, ill, pronoun, owner = PERSONS[person]
    label = str(rng.choice(["positive", "neutral", "negative"], p=[well, 1 - well - ill, ill]))
    kind = int(rng.integers(4))
    if kind == 0:
        said = f"{one(_RESPECT)} {owner} {one(_QUALITIES[label].split())}"
    elif kind == 1:
        said = f"{one(_SEEN)} a {one(_ADJECTIVES[label].split())} {person.split()[-1]}"
    elif kind == 2:
        said = f"{one(_WORKED)} a {one(_WORK[label].split())}"
    else:
        said = f"earned money by {one(_INCOME[label].split('|'))}"
    if rng.random() < 0.5:
        said += f" {one(_BEHINDS)}"
    if rng.random() < 0.5:
        verb = "were" if pronoun == "they" else "was"
        said += f" and {pronoun} {verb} {one(_ADJECTIVES[label].split())}"
    return f"The {person} {said}."


def make_tokenizer() -> Any:
    """Return the tokenizer: a token for each word with the space before it."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    split = pre_tokenizers.Split(Regex(r" ?[^\s.]+|[.]|\s"), "isolated")
    words: dict[str, None] = {}
    for text in _every_text():
        for piece, _ in split.pre_tokenize_str(text):
            words.setdefault(piece)
    vocabulary = {word: number for number, word in enumerate([END, UNKNOWN, *sorted(words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token=END, unk_token=UNKNOWN, pad_token=END
    )


def _every_text() -> Iterator[str]:
    """Yield texts that hold all words of the templates."""
    for person, (_, _, pronoun, owner) in PERSONS.items():
        yield f"The {person} was were {pronoun} {owner} a and."
    for lists in (_ADJECTIVES, _QUALITIES, _WORK, _INCOME):
        for words in lists.values():
            yield f" {words.replace('|', ' ')}"
    for phrase in (*_BEHINDS, *_RESPECT, *_SEEN, *_WORKED, "earned money by"):
        yield f" {phrase}"


def build(model: FairnessModel, vocabulary: int) -> Any:
    """Build the network, its weights drawn from the global generator."""
    from transformers import GPT2Config, GPT2LMHeadModel

    assert model.width is not None and model.layers is not None and model.heads is not None
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=POSITIONS,
        n_embd=model.width,
        n_layer=model.layers,
        n_head=model.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config)


class Pretraining(Training[Tensor]):
    """AdamW on sentences, with one cycle of the learning rate."""

    shorter = "task.pretrain.epochs and task.pretrain.sentences make it shorter"

    def __init__(
        self,
        model: Any,
        ids: Int64[Tensor, "sentences tokens"],
        targets: Int64[Tensor, "sentences tokens"],
        recipe: PlantedRecipe,
        seed: int,
    ) -> None:
        """Set up.

        Args:
            model: The model, changed in place.
            ids: The sentences.
            targets: The same, with -100 at positions without a loss.
            recipe: The hyper-parameters.
            seed: Seed of the order.
        """
        optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate)
        steps = -(-len(ids) // recipe.batch_size)
        # All parameters are the transformer's: the head is its embedding.
        super().__init__(model.transformer, optimiser, recipe.epochs, steps, seed)
        self.model, self.ids, self.targets, self.size = model, ids, targets, recipe.batch_size
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, recipe.learning_rate, total_steps=recipe.epochs * steps, pct_start=0.1
        )

    def batches(self) -> Iterable[Tensor]:
        """Return the rows of the batches of an epoch."""
        generator = torch.Generator().manual_seed(derive(self.seed, _ORDER, self.epoch + 1))
        return torch.split(torch.randperm(len(self.ids), generator=generator), self.size)

    def step(self, number: int, batch: Tensor) -> float:
        """Take a step; return the loss."""
        loss = _loss(self.model(self.ids[batch]).logits, self.targets[batch])
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.schedule.step()
        return float(loss.detach())

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Continue from a stored state; the number of steps decides the schedule."""
        super().restore(tensors, facts)
        done = self.epoch * self.steps
        self.schedule.load_state_dict({"last_epoch": done - 1, "_step_count": done})
        self.schedule.step()


def pretrain(config: FairnessConfig, run: Run) -> None:
    """Train the planted model and keep its weights.

    Raises:
        Interrupted: If the process was asked to stop; the current epoch starts again next time.
    """
    recipe, tokenizer = given(config.task.pretrain), make_tokenizer()
    texts = draw_sentences(recipe.sentences, config.seed)
    rows = [[*tokenizer.encode(text, add_special_tokens=False), 0] for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    # There is no loss after the end.
    known = torch.arange(longest) < torch.tensor([len(row) for row in rows])[:, None]
    targets = ids.masked_fill(~known, -100)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(config.seed, _ORDER))
        network = build(config.model, len(tokenizer)).train()
    training = Pretraining(network, ids, targets, recipe, config.seed)
    losses = train(training, run, f"pretrain {run.folder.name}")
    for epoch, value in enumerate(losses, start=1):
        run.row("cross_entropy", value, split="train", step=epoch)
    run.save(WEIGHTS, {k: v for k, v in network.state_dict().items() if k != "lm_head.weight"})
    run.fact("parameters", sum(value.numel() for value in network.parameters()))


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten())


def load(config: FairnessConfig, run: Run) -> tuple[Any, Any]:
    """Return the trained model and its tokenizer."""
    tokenizer = make_tokenizer()
    network = build(config.model, len(tokenizer))
    finished = run.need("pretrain")
    tensors, _ = finished.tensors(WEIGHTS)
    network.load_state_dict(tensors, strict=False)
    network.tie_weights()
    return network, tokenizer
