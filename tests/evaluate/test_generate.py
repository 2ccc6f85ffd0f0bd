"""A whole measurement of a generator: samples with the words of the reference, and the arms beside them."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from evaluate_helpers import quarters
from small_generators import CLASSES

from openflextok.config import GeneratorConfig, GPTConfig, LabelPrefixConfig
from openflextok.data.base import Words
from openflextok.evaluate.frechet import frechet_distance
from openflextok.evaluate.generate import Generation, Sampling, condition, words_of
from openflextok.evaluate.job import run
from openflextok.evaluate.metric_table import choose
from openflextok.evaluate.reconstruct import Wanted
from openflextok.evaluate.reference import Reference
from openflextok.generators.generator import Generator
from openflextok.pixels import to_float, to_uint8

WANTED = Wanted((2, 8), (0,), (("steps", 2),), batch=4)
SAMPLING = Sampling((("guidance", 1.5), ("top_k", 20)))


@pytest.fixture
def make_job(make_tokenizer, randomise, pictures, quarters_network):
    def make(metrics=("frechet", "kid", "codes", "bits"), train: bool = True, wanted: Wanted = WANTED) -> Generation:
        tokenizer = make_tokenizer()
        gpt = GPTConfig(32, 1, 64_000, 8, (8, 8, 8, 5, 5, 5), head_dim=16)
        generator = randomise(Generator(GeneratorConfig(gpt, LabelPrefixConfig(CLASSES), "t", tokenizer.fingerprint())))
        reference = Reference(str(pictures), (16, 16))
        return Generation(
            "tiny", generator, tokenizer, reference, reference.survey(), wanted, choose(metrics), SAMPLING,
            ("quarters",), Reference(str(pictures), (16, 16)) if train else None,
        )  # fmt: skip

    return make


def test_figures_are_those_of_the_samples(make_job, tmp_path):
    job = make_job()
    result = run(job, tmp_path / "parts", tmp_path / "r.json")
    assert result is not None and result.protocol.task == "generate" and result.protocol.images == 9
    [stretch] = list(job.reference.batches(100))
    labels = [words.label for words in stretch.words]
    real = to_float(stretch.pixels_BHWC)
    drawn = job.generator.sample(labels=labels, length=8, seed=list(stretch.places), guidance=1.5, top_k=20)
    made = to_float(to_uint8(job.tokenizer.decode(drawn[:, :2], seed=list(stretch.places), steps=2)))
    assert result.of("frechet")[0].value == pytest.approx(frechet_distance(quarters(real), quarters(made)), rel=1e-4)
    ids = job.tokenizer.encode(real).ids
    bits = -job.generator.score(ids, labels=labels) / math.log(2)
    assert result.of("bits_per_token")[1].value == pytest.approx(bits.mean().item(), rel=1e-5)
    assert result.of("bits_per_token")[0].value == pytest.approx(bits[:, :2].mean().item(), rel=1e-5)
    none = -job.generator.score(ids, labels=[None] * 9) / math.log(2)
    assert result.of("bits_per_token_unconditional")[1].value == pytest.approx(none.mean().item(), rel=1e-5)
    assert result.of("codes_used")[1].value == len(drawn.unique())
    own = to_float(to_uint8(job.tokenizer.decode(ids, seed=list(stretch.places), steps=2)))
    expected = frechet_distance(quarters(real), quarters(own))
    assert result.of("tokens-frechet")[1].value == pytest.approx(expected, rel=1e-4)
    assert result.of("train-frechet")[0].value == pytest.approx(0, abs=1e-9)  # the same pictures
    settings = {setting.name: setting.value for setting in result.subject.settings}
    assert (settings["sampling guidance"], settings["sampling top_k"], settings["steps"]) == ("1.5", "20", "2")


def test_a_killed_run_goes_on_and_gives_the_same(make_job, tmp_path):
    whole = run(make_job(), tmp_path / "a", tmp_path / "r.json")

    def kill(images: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make_job(), tmp_path / "b", tmp_path / "r.json", kill)
    again = run(make_job(), tmp_path / "b", tmp_path / "r.json")
    assert whole is not None and again is not None
    kept = [[figure for figure in result.figures if not figure.metric.endswith("seconds")] for result in (whole, again)]
    assert kept[0] == kept[1]


def test_seeds_give_other_samples_and_a_spread(make_job, tmp_path):
    job = make_job(train=False, metrics=("frechet",), wanted=replace(WANTED, lengths=(8,), seeds=(0, 1)))
    result = run(job, tmp_path / "parts", tmp_path / "r.json")
    assert result is not None and result.of("frechet")[0].spread is not None
    assert not result.of("train-frechet")
    assert result.of("tokens-frechet")[0].spread is None


def test_images_without_words_are_named(make_job, pictures, tmp_path):
    job = make_job(metrics=("bits",), train=False)
    assert not any("no condition" in note for note in job.notes())
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in sorted(pictures.rglob("*.png"))[:3]:
        (flat / path.name).write_bytes(path.read_bytes())
    reference = Reference(str(flat), (16, 16))
    bare = Generation(
        "t", job.generator, job.tokenizer, reference, reference.survey(), WANTED, choose(["bits"]), SAMPLING
    )
    count = len(reference)
    assert count and f"{count} of {count} reference images have no labels: no condition for theirs" in bare.notes()


def test_impossible_wishes_are_refused(make_job):
    with pytest.raises(ValueError, match="psnr, ssim compare an image with its rebuilding"):
        make_job(metrics=("psnr", "ssim", "kid"))
    with pytest.raises(ValueError, match="allowed is 1 <= length <= 8"):
        make_job(wanted=replace(WANTED, lengths=(16,)))
    job = make_job()
    with torch.no_grad(), pytest.raises(ValueError, match="speaks the ids"):
        next(job.tokenizer.encoder.parameters()).add_(1.0)
        Generation(
            "t", job.generator, job.tokenizer, job.reference, job.survey, WANTED, choose(["kid"]), SAMPLING
        )  # fmt: skip


def test_other_words_of_the_same_pictures_are_another_measurement(make_job, pictures, tmp_path):
    run(make_job(metrics=("bits",), train=False), tmp_path / "parts", tmp_path / "r.json")
    files = sorted(path.relative_to(pictures) for path in pictures.rglob("*.png"))
    words = [{"file": str(file), "label": file.parent.name.replace("cherry", "apple")} for file in files]
    (pictures / "meta.jsonl").write_text("".join(json.dumps(row) + "\n" for row in words))  # the pixels are the same
    with pytest.raises(ValueError, match="different in subject.settings: words SHA-256 .* against words SHA-256 "):
        run(make_job(metrics=("bits",), train=False), tmp_path / "parts", tmp_path / "r.json")


def test_other_training_images_under_the_same_names_are_another_measurement(make_job, pictures, tmp_path):
    learned = Path(shutil.copytree(pictures, tmp_path / "learned"))
    job = make_job(metrics=("frechet",))

    def again() -> Generation:
        return Generation(
            "t", job.generator, job.tokenizer, job.reference, job.survey, WANTED, choose(["frechet"]), SAMPLING,
            ("quarters",), Reference(str(learned), (16, 16)),
        )  # fmt: skip

    run(again(), tmp_path / "parts", tmp_path / "r.json")
    first, second, *_ = (path for path in sorted(learned.rglob("*.png")) if path.stat().st_size > 100)
    first.write_bytes(second.read_bytes())
    with pytest.raises(ValueError, match="different in subject.settings: train .*, pixels .* against train "):
        run(again(), tmp_path / "parts", tmp_path / "r.json")


def test_a_generator_asked_otherwise_is_another_subject(make_job):
    before = make_job(train=False)
    other = Generator(replace(before.generator.config, guidance=9.0))
    other.load_state_dict(before.generator.state_dict())
    after = Generation(
        "tiny", other, before.tokenizer, before.reference, before.survey, WANTED, choose(["codes"]), SAMPLING
    )
    moved = Generator(replace(before.generator.config, tokenizer="elsewhere"))
    moved.load_state_dict(before.generator.state_dict())
    same = Generation(
        "tiny", moved, before.tokenizer, before.reference, before.survey, WANTED, choose(["codes"]), SAMPLING
    )
    assert after.plan.subject != before.plan.subject == same.plan.subject


def test_notes_say_how_many_training_images_could_be_read(make_job, tmp_path):
    result = run(make_job(metrics=("frechet", "codes")), tmp_path / "parts", tmp_path / "r.json")
    assert result is not None and result.of("train-frechet")[0].images == 9
    assert "train-*: 9 real training images against the reference, without any model" in result.notes
    assert "codes_used, perplexity and token_* are of the samples of seed 0" in result.notes


def test_metrics_that_need_more_training_images_are_left_out_before_the_work(make_job, pictures):
    job = make_job(metrics=("neighbours",), train=False)
    few = Reference(str(pictures), (16, 16), limit=3)
    job = Generation(
        "t", job.generator, job.tokenizer, job.reference, job.survey, WANTED, choose(["neighbours"]), SAMPLING,
        ("quarters",), few,
    )  # fmt: skip
    assert not job.tools.sets and any("neighbours is left out" in note for note in job.notes())


def test_an_empty_label_is_no_condition(make_job):
    told = [condition(make_job().generator, Words(label, None)) for label in (CLASSES[0], "", None)]
    assert told == [CLASSES[0], None, None]


def test_unknown_words_are_refused_before_the_work(make_job, pictures):
    generator = make_job().generator
    (pictures / "cherry").rename(pictures / "cherri")
    with pytest.raises(ValueError, match=r"cherri/.*\.png: unknown label 'cherri'; did you mean 'cherry'"):
        words_of(generator, Reference(str(pictures), (16, 16)))
