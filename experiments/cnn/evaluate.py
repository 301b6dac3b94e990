"""Stage ``evaluate``: accuracy on turned images (Figures 5b and 11b)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from jaxtyping import Float
from torch import Tensor, nn

import equitune
from experiments.cnn.backbones import preprocessing
from experiments.cnn.heads import Probe, make_rule
from experiments.cnn.orbit_sources import Live, correctness, make_source
from experiments.cnn.pretrain import pretrained_backbone
from experiments.cnn.probe import HEADS, build_probe, load_state, plan
from experiments.estimates import estimate
from experiments.frame.errors import Interrupted, UserError
from experiments.frame.methods import Kind, find_method
from experiments.frame.progress import progress
from experiments.images.equivariance import Remembering, checked, equivariance_error
from experiments.images.orbit_data import Stored, TurnedImages
from experiments.images.symmetries import make_action, members

if TYPE_CHECKING:
    from experiments.cnn.backbones import Backbone
    from experiments.cnn.options import CnnConfig
    from experiments.frame.records import Run
    from experiments.images.arrays import Split


class Classifier(nn.Module):
    """The backbone with its own last layers, or with new ones.

    Attributes:
        features: Maps images to the backbone's features; lambda reuses those that the head has
            read.
    """

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.features = Remembering(backbone.features)

    def forward(self, x: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch classes"]:
        """Return logits."""
        logits: Tensor = self.head(self.features(x))
        return logits


class OwnHead(nn.Module):
    """The backbone's original last layers, on features with any number of leading dims."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(
        self, features: Float[Tensor, "*batch channels height width"]
    ) -> Float[Tensor, "*batch classes"]:
        """Return logits."""
        logits = self.backbone.classify(features.flatten(0, -4))
        return logits.reshape(*features.shape[:-3], -1)


def evaluate(config: CnnConfig, run: Run) -> None:
    """Measure a method on every turn of the images.

    Raises:
        Interrupted: If the process was asked to stop; the run begins again next time.
        UserError: If the pretrained network's classes are not those of the data set.
    """
    split = cast("Split", config.task.evaluate_on)
    source = make_source(config, run, split)
    own = source.backbone if isinstance(source, Live) else None
    backbone = own or pretrained_backbone(config, run)
    if config.task.training == "none":
        probe = _zero_shot(config, run, backbone, source, split)
    else:
        probe = _probed(config, run, source, split)
    if config.task.batch_norm == "frozen":
        whole = Classifier(backbone, probe.head)
        error = _equivariance_error(config, run, whole, probe, source)
        run.row("equivariance_error", error, split=split)
    run.fact("device", "cpu")


def _zero_shot(
    config: CnnConfig, run: Run, backbone: Backbone, source: TurnedImages, split: str
) -> Probe:
    """Measure the pretrained network, and its gain over equitune."""
    assert isinstance(source, Stored)
    classes = backbone.classify(source.features.values[0, :1]).shape[-1]
    if classes != config.dataset.classes:
        raise UserError(
            f"task.training=none needs a network of the {config.dataset.classes} classes of "
            f"dataset={config.dataset.name}, model={config.model.name} has {classes}; choose "
            "a data set of these or task.training=probe"
        )
    asked, group = plan(config), make_action(config.group.name).group
    probe = Probe(OwnHead(backbone), make_rule(asked.method, group, asked.loss))
    correct = correctness(probe, source).double()
    _write_turns(run, asked.transform, correct, split)
    if find_method(asked.method).kind is not Kind.MEAN:
        # Pretrained has no group: it is compared with equitune on the stored orbit.
        wide = asked.group if asked.group != "trivial" else source.features.views
        even = Probe(probe.head, equitune.Uniform())
        other = correctness(even, Stored(source.features, wide, asked.transform)).double()
        difference = estimate(correct.mean(dim=0) - other.mean(dim=0))
        difference.write(run, "over_equitune", split=split, transform=asked.transform)
    return probe


def _write_turns(run: Run, transform: str, correct: Tensor, split: str) -> None:
    """Write the accuracy of every turn, and their mean."""
    estimate(correct[0]).write(run, "top1_accuracy", split=split, transform="none")
    if len(correct) == 1:
        return
    for turn, values in zip(members(transform), correct, strict=True):
        columns = {"split": split, "transform": transform, "view": str(turn)}
        estimate(values).write(run, "top1_accuracy", **columns)
    every = estimate(correct.mean(dim=0))
    every.write(run, "top1_accuracy", split=split, transform=transform)


def _probed(config: CnnConfig, run: Run, source: TurnedImages, split: str) -> Probe:
    """Measure the trained layers of every epoch, and record which epoch is reported."""
    asked, recipe = plan(config), config.task.probe
    assert recipe is not None
    finished = run.need("probe")
    run.fact("images_learned", finished.record["facts"]["images"])
    tensors, _ = finished.tensors(HEADS)
    probe = build_probe(asked, source.shape, config.dataset.classes, config.seed)
    accuracies, estimates = {}, {}
    with progress(f"epochs of {run.folder.name}", recipe.epochs) as bar:
        for epoch in range(1, recipe.epochs + 1):
            if run.should_checkpoint:
                raise Interrupted(f"stopped on request; {run.folder.name} begins again")
            load_state(probe, source, tensors, epoch)
            estimates[epoch] = estimate(correctness(probe, source).double().mean(dim=0))
            accuracies[epoch] = estimates[epoch].mean
            columns = {"split": split, "transform": asked.transform, "step": epoch}
            run.row("top1_accuracy", accuracies[epoch], **columns)
            bar.update(epoch)
    if config.task.selection == "validation":
        accuracies = {
            int(row["step"]): float(row["value"])
            for row in finished.rows()
            if (row["metric"], row["split"]) == ("top1_accuracy", "validation")
        }
    last = config.task.selection == "last"
    chosen = recipe.epochs if last else max(accuracies, key=lambda epoch: accuracies[epoch])
    estimates[chosen].write(run, "top1_accuracy", split=split, transform=asked.transform)
    run.row("selected_epoch", chosen, split=split, transform=asked.transform)
    load_state(probe, source, tensors, chosen)
    return probe


def _equivariance_error(
    config: CnnConfig, run: Run, network: Classifier, probe: Probe, source: TurnedImages
) -> float:
    """Return the equivariance error of the whole network's logits.

    It reads no stored features, but runs turned images through `equitune.Equivariant`.
    """
    rule = probe.rule
    if isinstance(rule, equitune.Learned):
        rule = equitune.Learned(rule.net, lambda x: network.features(x).flatten(1))
    action = make_action(config.group.name)
    model = equitune.Equivariant(network, action, equitune.Invariant(action.group), rule).eval()
    turned = "rot90" if config.group.name == "trivial" else config.group.name
    inputs = preprocessing(config.model)(checked(source.sample, config.task.max_images))
    return equivariance_error(run, model, inputs, turned)
