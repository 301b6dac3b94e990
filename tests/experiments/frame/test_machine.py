"""What a run ran on: settings of float32, versions that are told without an import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from experiments.frame import machine


def precisions() -> list[str]:
    return [place.fp32_precision for place in places()]


def places() -> list[SimpleNamespace]:
    backends = torch.backends
    return [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn]  # type: ignore[list-item,attr-defined]


@pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="before PyTorch 2.9"
)
def test_float32_is_without_tf32_while_the_body_runs() -> None:
    before = precisions()
    assert before != ["ieee"] * 3
    with pytest.raises(ZeroDivisionError), machine.ieee_float32():
        assert precisions() == ["ieee"] * 3
        with machine.ieee_float32():
            assert precisions() == ["ieee"] * 3
        assert precisions() == ["ieee"] * 3
        _ = 1 / 0
    assert precisions() == before


def test_older_versions_have_other_settings() -> None:
    matmul = SimpleNamespace(allow_tf32=True)
    cudnn = SimpleNamespace(allow_tf32=True)
    backends = SimpleNamespace(cuda=SimpleNamespace(matmul=matmul), cudnn=cudnn)
    for place, name, value in machine._without_tf32(backends):
        setattr(place, name, value)
    assert (matmul.allow_tf32, cudnn.allow_tf32) == (False, False)


def test_a_cuda_device_is_named_and_a_broken_one_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"a GPU of {device}")
    assert machine.accelerator("cuda:1") == {"accelerator": "a GPU of cuda:1"}
    assert machine.accelerator("cpu") == machine.accelerator("") == {}

    def broken(device: str) -> str:
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(torch.cuda, "get_device_name", broken)
    assert machine.accelerator("cuda") == {}


def test_the_processor_is_named_where_the_system_names_it() -> None:
    found = machine.hardware()
    assert set(found) == {"machine", "processor", "cores"} and found["cores"] >= 1
    if sys.platform == "linux" and "model name" in Path("/proc/cpuinfo").read_text():
        assert f": {found['processor']}\n" in Path("/proc/cpuinfo").read_text()


def test_versions_are_told_without_an_import() -> None:
    code = (
        "import sys; from experiments.frame import machine; found = machine.versions(); "
        "names = ['open_clip_torch', 'timm', 'transformers', 'torchvision', 'Pillow']; "
        "assert all(found[name] for name in names), found; "
        "assert not {'open_clip', 'timm', 'transformers', 'torchvision', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


XEON = "processor : 0\nflags\t\t: fpu avx2 avx512_bf16 amx_bf16\n"
EPYC = "processor : 0\nflags\t\t: fpu avx2 sse4_2\n"
GRAVITON = "processor : 0\nFeatures\t: fp asimd bf16\n"


@pytest.mark.parametrize(
    ("cpu", "limit", "expected"),
    [
        (XEON, "", True),
        (XEON, "AVX512_CORE_BF16", True),
        (XEON, "AVX512_CORE_AMX", True),
        (XEON, "AVX2", False),
        (XEON, "avx2_vnni_2", False),
        (XEON, "AVX512_CORE", False),
        (XEON, "AVX512_CORE_VNNI", False),
        (EPYC, "", False),
        (GRAVITON, "", True),
    ],
)
def test_a_cpu_multiplies_bfloat16_if_it_has_units_and_may_use_them(
    cpu: str, limit: str, expected: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(cpu)
    monkeypatch.setattr(machine, "_CPUS", str(tmp_path / "cpuinfo"))
    monkeypatch.setattr(machine, "_GPUS", ())
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    for device in ("auto", "cpu"):
        assert machine.multiplies_bfloat16.__wrapped__(device) is expected
    for device in ("cuda", "mps"):
        assert not machine.multiplies_bfloat16.__wrapped__(device)


@pytest.mark.parametrize("native", [True, False])
def test_a_gpu_is_asked_where_there_is_one(
    native: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "_GPUS", (str(tmp_path),))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    for device in ("auto", "cuda"):
        assert machine.multiplies_bfloat16.__wrapped__(device) is native
