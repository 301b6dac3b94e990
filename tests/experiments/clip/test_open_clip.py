"""Models of open_clip of every kind: towers, weights from anywhere, images of any shape."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.clip.checkpoints import put, put_file
from experiments.clip.inputs import load_seen, open_seen, square
from experiments.clip.models import (
    build_model,
    image_encoder,
    make_tokenizer,
    preprocessing,
    pretrained_model,
)
from experiments.clip.options import ClipModel
from experiments.frame.errors import UserError
from experiments.frame.files import load_tensors, save_tensors, sha256
from experiments.frame.options import AnyConfig
from experiments.frame.runner import StopSignal, ensure, execute
from experiments.frame.stages import name_run
from experiments.frame.tasks import load_task
from experiments.images.extraction import FEATURES
from tests.experiments.clip.small import SMALL
from tests.experiments.clip.test_models import Bare
from tests.experiments.clip.test_runs import rows
from tests.experiments.clip.tiny import ARCHITECTURES, add_to_open_clip, file_of, state_of

Configure = Callable[..., AnyConfig]
RunPy = Callable[..., "subprocess.CompletedProcess[str]"]
FEW = ("dataset.per_class_train=4", "dataset.per_class_test=2")


def chosen(name: str, weights: str = "here") -> tuple[str, ...]:
    names = (f"model.architecture={name}", f"model.weights={weights}")
    return ("task=clip", "model=open_clip", *names, *FEW)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    add_to_open_clip(monkeypatch, tmp_path)


def model_of(configure: Configure, name: str, *overrides: str) -> ClipModel:
    model: ClipModel = configure(*chosen(name), *overrides).model
    return model


def values_of(folder: Path, metric: str) -> list[float]:
    return [float(row["value"]) for row in rows(folder, metric=metric)]


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_the_image_encoder_is_encode_image(configure: Configure, name: str) -> None:
    model: Any = build_model(model_of(configure, name)).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        found = image_encoder(model)(images)
        expected = model.encode_image(images, normalize=False)
    assert found.shape == (2, 16) and torch.equal(found, expected)


@pytest.mark.parametrize("name", ["tiny-coca", "tiny-timm"])
def test_every_tower_is_measured_tuned_and_timed(configure: Configure, name: str) -> None:
    tuned = ("task.training=image_encoder", "task.finetune.steps=1", "task.finetune.every=1")
    config = configure(*chosen(name), "method=equitune", *tuned)
    folder = execute(config).folder
    assert values_of(folder, "equivariance_error")[0] < 1e-4
    found = ensure(config, "features_test", StopSignal())
    path = found.folder / FEATURES
    assert load_tensors(path)[0]["features"].shape == (4, 12 * 2, 16)
    timed = ("stage=timing", "task.max_images=2", "task.timing_rounds=1")
    assert len(values_of(execute(configure(*chosen(name), *timed)).folder, "images")) == 4


def test_the_record_tells_the_file_that_was_fetched(configure: Configure, tmp_path: Path) -> None:
    run = Bare()
    pretrained_model(configure(*chosen("tiny-vit")), run)  # type: ignore[arg-type]
    path = tmp_path / "tiny-vit.pt"
    facts = {"tag": "here", "file": path.name, "sha256": sha256(path), "commit": None}
    assert run.facts["weights"] == facts
    finished = ensure(configure(*chosen("tiny-vit")), "text", StopSignal())
    assert finished.record["facts"]["weights"]["sha256"] == sha256(path)


def test_weights_of_a_tag_are_those_of_its_file(configure: Configure) -> None:
    run = Bare()
    built = pretrained_model(configure(*chosen("tiny-siglip")), run)  # type: ignore[arg-type]
    expected = state_of("tiny-siglip")
    assert all(torch.equal(v, expected[name]) for name, v in built.state_dict().items())


def test_weights_are_converted_as_open_clip_does(configure: Configure, tmp_path: Path) -> None:
    """Text tower by its old names, OpenAI's extra numbers, half precision, a scale of one entry."""
    import open_clip

    state = state_of("tiny-siglip")
    old = {n.removeprefix("text."): v.half() for n, v in state.items() if n != "logit_bias"}
    old["logit_scale"] = old["logit_scale"].reshape(1)
    kept = tmp_path / "old.safetensors"
    save_tensors(kept, old)
    model = model_of(configure, "tiny-siglip")
    expected = open_clip.create_model("tiny-siglip")
    open_clip.load_checkpoint(expected, str(kept))
    save_tensors(kept, old | {"context_length": torch.tensor(24)})
    built = build_model(model)
    put_file(built, kept, model)
    assert built.state_dict()["logit_bias"] == 0
    for name, value in expected.state_dict().items():
        assert torch.equal(built.state_dict()[name], value), name


def test_weights_behind_a_prefix_beside_a_loss_s_are_the_model_s(configure: Configure) -> None:
    model, state = model_of(configure, "tiny-vit"), state_of("tiny-vit")
    given = {f"model.{name}": value for name, value in state.items()}
    built = build_model(model)
    put(built, given | {"criterion.weight": torch.ones(3)}, model)
    assert all(torch.equal(value, state[name]) for name, value in built.state_dict().items())


def test_positions_are_resized_with_a_warning(
    configure: Configure, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    import open_clip

    model = model_of(configure, "tiny-vit", "model.size=48")
    built = build_model(model).eval()
    put(built, state_of("tiny-vit"), model)
    assert "visual.positional_embedding: resized" in caplog.text
    expected = open_clip.create_model("tiny-vit", force_image_size=48)
    open_clip.load_checkpoint(expected, str(file_of("tiny-vit", tmp_path)))
    assert torch.equal(built.visual.positional_embedding, expected.visual.positional_embedding)  # type: ignore[union-attr]
    assert image_encoder(built)(torch.randn(1, 3, 48, 48)).shape == (1, 16)


def test_what_cannot_be_resized_is_refused(configure: Configure) -> None:
    model = model_of(configure, "tiny-vit")
    state = state_of("tiny-vit")
    wrong = state | {"visual.positional_embedding": torch.zeros(17, 8)}
    with pytest.raises(UserError, match=r"it has visual.positional_embedding \[17, 8\]"):
        put(build_model(model), wrong, model)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", ["npz", "bin", "pt"])
def test_no_kind_of_file_runs_code(configure: Configure, tmp_path: Path, suffix: str) -> None:
    model, left = model_of(configure, "tiny-siglip"), tmp_path / "left"
    path = tmp_path / f"weights.{suffix}"
    if suffix == "npz":
        np.savez(path, **{"params/b": np.array([Trap(left)], dtype=object)})
    else:
        torch.save({"logit_scale": Trap(left)}, path)
    with pytest.raises(UserError) as error:
        put_file(build_model(model), path, model)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert not left.exists()


def test_files_of_big_vision_go_to_open_clips_reader(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from open_clip import convert

    model, path = model_of(configure, "tiny-siglip"), tmp_path / "weights.npz"
    np.savez(path, t=np.array([2.0]))
    with pytest.raises(UserError, match="no file of big_vision with the weights of tiny-siglip"):
        put_file(build_model(model), path, model)

    def read(built: Any, name: str) -> None:
        with torch.no_grad():
            built.logit_scale.fill_(float(np.load(name)["t"][0]))

    monkeypatch.setattr(convert, "load_big_vision_weights", read)
    built: Any = build_model(model)
    put_file(built, path, model)
    assert built.state_dict()["logit_scale"] == 2.0
    np.savez(path, t=np.array([np.nan]))
    with pytest.raises(UserError, match="not finite"):
        put_file(built, path, model)


def test_bin_files_are_read(configure: Configure, tmp_path: Path) -> None:
    model, path = model_of(configure, "tiny-vit"), tmp_path / "open_clip_pytorch_model.bin"
    torch.save(state_of("tiny-vit"), path)
    built = build_model(model)
    put_file(built, path, model)
    assert torch.equal(built.state_dict()["visual.proj"], state_of("tiny-vit")["visual.proj"])


def test_open_clip_says_what_is_wrong_and_nothing_else(
    configure: Configure, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip

    create = open_clip.create_model

    def warn(*arguments: Any, **more: Any) -> Any:
        logging.warning("something is wrong")
        return create(*arguments, **more)

    monkeypatch.setattr(open_clip, "create_model", warn)
    model = model_of(configure, "tiny-vit")
    with caplog.at_level(logging.INFO):
        build_model(model)
        make_tokenizer(model)
        assert [record.message for record in caplog.records] == ["something is wrong"]
        logging.info("ours")
        assert caplog.records[-1].message == "ours"


def test_preprocessing_is_that_of_the_tag(configure: Configure) -> None:
    model = model_of(configure, "tiny-vit")
    assert (model.size, model.mean, model.std) == (32, [0.5] * 3, [0.5] * 3)
    assert (model.interpolation, model.resize_mode) == ("bilinear", None)
    # The mode decides of files alone; conf/model/open_clip.yaml says that all can be given.
    files = ("dataset=images", "dataset.classes=2", "dataset.root=.", "dataset.size=32")
    names = ("model.architecture=tiny-vit", "model.weights=here")
    of_files = configure("task=clip", "model=open_clip", *names, *files).model
    assert of_files.resize_mode == "squash"


def test_bilinear_is_pils(configure: Configure) -> None:
    import open_clip

    model = model_of(configure, "tiny-vit")
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (3, 3, 50, 50), generator=generator, dtype=torch.uint8)
    expected = transformed(pixels, open_clip.image_transform(**sees(model)))
    found = preprocessing(model)(pixels)
    levels = (found - expected).abs() * 0.5 * 255
    # To the level of a pixel: without the rounding most differ by a fraction of one.
    assert levels.max() <= 1 + 1e-3 and (levels > 1e-3).double().mean() < 0.02


def transformed(pixels: torch.Tensor, transform: Any) -> torch.Tensor:
    return torch.stack([transform(Image.fromarray(p.permute(1, 2, 0).numpy())) for p in pixels])


def sees(model: ClipModel, mode: str | None = None) -> dict[str, Any]:
    assert model.mean is not None and model.std is not None
    return {
        "image_size": model.size,
        "is_train": False,
        "mean": tuple(model.mean),
        "std": tuple(model.std),
        "interpolation": model.interpolation,
        "resize_mode": mode or model.resize_mode,
    }


def noise(width: int, height: int) -> Image.Image:
    generator = np.random.default_rng(width)
    return Image.fromarray(generator.integers(256, size=(height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("shape", [(60, 41), (41, 60), (20, 97), (32, 32)])
@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_images_become_square_as_open_clip_makes_them(
    configure: Configure, shape: tuple[int, int], mode: str, interpolation: str
) -> None:
    import open_clip

    model = model_of(configure, "tiny-vit", f"model.interpolation={interpolation}")
    image = noise(*shape)
    expected = open_clip.image_transform(**sees(model, mode))(image)
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    found = np.asarray(square(image, 32, mode, filters[interpolation])).transpose(2, 0, 1)
    pixels = torch.from_numpy(found.copy())[None]
    torch.testing.assert_close(preprocessing(model)(pixels)[0], expected)


def folder_of_images(root: Path) -> None:
    for split in ("train", "test"):
        for name in ("a", "b"):
            (root / split / name).mkdir(parents=True)
            for number in range(2):
                noise(60 + number, 40).save(root / split / name / f"{number}.png")


def test_files_are_seen_as_open_clip_sees_them(configure: Configure, tmp_path: Path) -> None:
    import open_clip

    root = tmp_path / "images"
    folder_of_images(root)
    files = ("dataset=images", "dataset.classes=2", f"dataset.root={root}", "dataset.size=32")
    names = ("model.architecture=tiny-vit", "model.weights=here")
    config = configure("task=clip", "model=open_clip", *names, *files)
    images, model = open_seen(config.dataset, config.model, "test"), config.model
    found = preprocessing(model)(images.read(1, 3))
    paths = [root / "test" / name for name in ("a/1.png", "b/0.png")]
    transform = open_clip.image_transform(**sees(model))
    expected = torch.stack([transform(Image.open(path)) for path in paths])
    torch.testing.assert_close(found, expected)
    assert images.labels.tolist() == [0, 0, 1, 1]
    assert load_seen(config.dataset, model, "test").pixels.shape == (4, 3, 32, 32)
    task = load_task("clip")

    def feature_names(*more: str) -> str:
        other = configure("task=clip", "model=open_clip", *names, *files, *more)
        return name_run(task, task.stages["features_test"], other).hash

    modes = {feature_names(f"model.resize_mode={m}") for m in ("shortest", "longest", "squash")}
    assert len(modes) == 3 and feature_names() in modes
    (root / "test" / "a" / "1.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"a/1\.png: is not a whole image"):
        images.read(0, 2)


def test_the_mode_does_not_name_runs_on_square_images(configure: Configure) -> None:
    task = load_task("clip")
    runs = set()
    for mode in ("shortest", "longest", "squash"):
        config = configure("task=clip", *SMALL, f"model.resize_mode={mode}")
        runs.add(name_run(task, task.stages["evaluate"], config).hash)
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("dataset=imagenet_v2", "dataset.root=.", "model=RN50", "model.size=288"),
            "dataset.size=224 is not model.size=288",
        ),
        (("~model.config.text_cfg",), "model.config.text_cfg.context_length is missing"),
        (("~model.config.vision_cfg",), "model.config.vision_cfg.layers is missing"),
        (("~model.config.embed_dim",), "model.config.embed_dim is missing"),
        (
            ("model.config.vision_cfg.image_size=48",),
            "model.config.vision_cfg.image_size=48 is not model.size=64",
        ),
        (("model.resize_mode=crop",), "choose from: shortest, longest, squash"),
        (
            (
                "protocol=reference",
                "task.training=image_encoder",
                "task.straight_through=identity",
                "method=equizero",
            ),
            "choose task.straight_through=mean or task.maximum=one_view",
        ),
    ],
)
def test_bad_input_is_one_line(
    configure: Configure, overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError) as error:
        configure("task=clip", *overrides)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_argument_of_a_model_is_one_line(configure: Configure) -> None:
    config = configure("task=clip", *SMALL, "+model.config.vision_cfg.depth=3")
    with pytest.raises(UserError, match=r"model\.config: .*'depth'.*SmallCLIP\.yaml") as error:
        build_model(config.model)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\xff\xfe{}", b"a {}\x00\n"])
@pytest.mark.parametrize("key", ["prompts", "class_names"])
def test_words_are_text(configure: Configure, tmp_path: Path, content: bytes, key: str) -> None:
    from experiments.clip.prompts import class_names

    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"dataset\.{key}=.*not a text file") as error:
        config = configure("task=clip", *SMALL, f"++dataset.{key}={path}")
        class_names(config.dataset, ("a",))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("sign", "name"), [("\u200b", r"U\+200B \(ZERO WIDTH SPACE\)"), ("\ufeff", "byte-order mark")]
)
@pytest.mark.parametrize("key", ["prompts", "class_names"])
def test_what_nobody_sees_is_named_with_its_line(
    configure: Configure, tmp_path: Path, sign: str, name: str, key: str
) -> None:
    from experiments.clip.prompts import class_names

    path = tmp_path / "words.txt"
    path.write_text(f"a {{}}\n\na {sign}cat {{}}\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"dataset\.{key}=.*words\.txt: line 3 has an? .*{name}"):
        config = configure("task=clip", *SMALL, f"++dataset.{key}={path}")
        class_names(config.dataset, ("a", "b"))


def test_the_names_of_imagenets_classes_decide_the_captions(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip

    task = load_task("clip")
    config = configure("task=clip", "model=RN50", "+dataset.class_names=imagenet")

    def text_name() -> str:
        return name_run(task, task.stages["text"], config).hash

    before = text_name()
    assert text_name() == before
    names = ["a tench", *open_clip.IMAGENET_CLASSNAMES[1:]]
    monkeypatch.setattr(open_clip, "IMAGENET_CLASSNAMES", names)
    assert text_name() != before


def test_a_run_tells_the_versions_of_what_sees_images(configure: Configure) -> None:
    config = configure(*chosen("tiny-vit"))
    folder = ensure(config, "text", StopSignal()).folder
    versions = json.loads((folder / "record.json").read_text())["versions"]
    for name in ("open_clip_torch", "timm", "transformers", "torchvision", "Pillow"):
        assert versions[name], name
