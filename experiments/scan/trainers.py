"""Selection of the code that trains: compiled kernels, or the specification in PyTorch."""

from __future__ import annotations

from experiments.scan.backends import choose_backend
from experiments.scan.nets.dropout import threshold
from experiments.scan.nets.group_model import GroupSeq2Seq
from experiments.scan.nets.model import EncoderDecoder, Seq2Seq
from experiments.scan.nets.objective import Objective, TorchFinetuner
from experiments.scan.nets.training import Settings, TorchTrainer, Trainer


def make_trainer(model: EncoderDecoder, settings: Settings, backend: str = "auto") -> Trainer:
    """Start a training run from the parameters of `model`, which stays untouched.

    Args:
        model: Network on the CPU; the run has its precision (float32, or float64 for tests).
        settings: Hyper-parameters.
        backend: "numba" (compiled), "torch" (the specification, about 30 times slower), or
            "auto" (default): numba where it can compile, else torch with a warning.

    Returns:
        A trainer at iteration 0.

    Raises:
        ValueError: If `backend` is unknown, or `dropout` is not in [0, 1), or not 0 for a group
            model.
    """
    threshold(settings.dropout)
    if choose_backend(backend) == "torch":
        return TorchTrainer(model, settings)
    if isinstance(model, GroupSeq2Seq):
        from experiments.scan.kernels.group_kernel import GroupTrainer

        return GroupTrainer(model, settings)
    from experiments.scan.kernels.training_kernel import NumbaTrainer

    assert isinstance(model, Seq2Seq)
    return NumbaTrainer(model, settings)


def make_finetuner(
    model: Seq2Seq, settings: Settings, objective: Objective, backend: str = "auto"
) -> Trainer:
    """Start fine-tuning from the parameters of `model`, which stays untouched.

    Args:
        model: The pretrained network, on the CPU; the run has its precision.
        settings: Hyper-parameters.
        objective: The minimised loss.
        backend: As in `make_trainer`.

    Returns:
        A trainer at iteration 0.

    Raises:
        ValueError: If `backend` is unknown.
    """
    if choose_backend(backend) == "torch":
        return TorchFinetuner(model, settings, objective)
    from experiments.scan.kernels.finetune_kernel import FinetuneTrainer

    return FinetuneTrainer(model, settings, objective)
