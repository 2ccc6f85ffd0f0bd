"""A whole measurement of a tokenizer equals what its parts give one by one, however it was cut and stopped."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from openflextok.config import ContinuousConfig, GeneratorConfig, GPTConfig, LabelPrefixConfig, PixelDecoderConfig
from openflextok.evaluate.frechet import frechet_distance
from openflextok.evaluate.job import run
from openflextok.evaluate.metric_table import choose
from openflextok.evaluate.metrics import psnr
from openflextok.evaluate.reconstruct import Reconstruction, Wanted
from openflextok.evaluate.reference import Reference
from openflextok.evaluate.results import Result, read_result
from openflextok.generators.generator import Generator
from openflextok.pixels import to_float, to_uint8
from openflextok.tokenizer import Tokenizer

METRICS = ("psnr", "ssim", "ms-ssim", "colour", "frechet", "kid", "codes", "bits")
WANTED = Wanted((1, 8), (0, 3), (("steps", 2),), batch=4)


@pytest.fixture
def make_job(make_tokenizer, pictures, quarters_network):
    def make(wanted: Wanted = WANTED, metrics=METRICS, tokenizer=None, **options) -> Reconstruction:
        reference = Reference(str(pictures), (16, 16), **options)
        found = tokenizer or make_tokenizer()
        return Reconstruction("tiny", found, reference, reference.survey(), wanted, choose(metrics), ("quarters",))

    return make


def timeless(result: Result | None) -> Result:
    """Without seconds, which no two runs share."""
    assert result is not None
    return replace(result, figures=tuple(f for f in result.figures if f.metric != "decode_seconds"))


def test_figures_are_those_of_the_images(make_job, make_tokenizer, tmp_path):
    job = make_job()
    result = run(job, tmp_path / "parts", tmp_path / "r.json")
    assert result is not None and read_result(tmp_path / "r.json") == result
    [*stretches] = job.reference.batches(100)
    pixels, places = stretches[0].pixels_BHWC, stretches[0].places
    tokenizer, original = make_tokenizer(), to_float(pixels)
    assert len(places) == result.protocol.images == 9
    tokens = tokenizer.encode(original)
    by_seed, distances = [], []
    for seed in (0, 3):
        rebuilt = tokenizer.decode(tokens.truncate(1), seed=[seed * 2**20 + place for place in places], steps=2)
        rebuilt = to_float(to_uint8(rebuilt))
        by_seed.append(psnr(original, rebuilt).mean().item())
        quarters = [torch.nn.functional.adaptive_avg_pool2d(x.mean(1, True), 2).flatten(1) for x in (original, rebuilt)]
        distances.append(frechet_distance(*quarters))
    found = result.of("psnr")[0]
    assert found.length == 1 and found.images == 9
    assert found.value == pytest.approx(sum(by_seed) / 2, rel=1e-5)
    assert found.spread == pytest.approx(abs(by_seed[0] - by_seed[1]) / math.sqrt(2), rel=1e-3)
    assert found.low is not None and found.high is not None and found.low < found.value < found.high
    frechet = result.of("frechet")[0]
    assert frechet.value == pytest.approx(sum(distances) / 2, rel=1e-4)
    assert frechet.network is not None and frechet.network.name == "quarters" and frechet.low is None
    assert result.of("bits_raw")[1].value == pytest.approx(8 * math.log2(64_000))
    assert result.of("codes_used")[1].value == len(tokens.ids.unique())
    assert result.of("psnr")[0].bytes == tokenizer.bytes_per_image(1)
    assert result.of("space-psnr")[0].value == 100  # pixels lose nothing


def test_a_killed_run_goes_on_and_gives_the_same(make_job, tmp_path):
    whole = run(make_job(), tmp_path / "a.parts", tmp_path / "same.json")

    def kill(images: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make_job(), tmp_path / "b.parts", tmp_path / "same.json", kill)
    kept = (tmp_path / "b.parts/part-00000.safetensors").stat().st_mtime_ns
    ticks: list[int] = []
    again = run(make_job(), tmp_path / "b.parts", tmp_path / "same.json", ticks.append)
    assert (tmp_path / "b.parts/part-00000.safetensors").stat().st_mtime_ns == kept
    assert sum(ticks) == 6  # of ten pictures, four were done
    assert timeless(again) == timeless(whole)
    assert (tmp_path / "same.webp").is_file() and again is not None and again.pictures == "same.webp"


def test_a_part_that_was_cut_off_is_made_again(make_job, tmp_path):
    whole = run(make_job(), tmp_path / "parts", tmp_path / "r.json")
    part = tmp_path / "parts/part-00001.safetensors"
    part.write_bytes(part.read_bytes()[:200])
    ticks: list[int] = []
    assert timeless(run(make_job(), tmp_path / "parts", tmp_path / "r.json", ticks.append)) == timeless(whole)
    assert sum(ticks) == 4


def test_two_processes_share_the_work(make_job, tmp_path):
    whole = run(make_job(), tmp_path / "a.parts", tmp_path / "same.json")
    assert run(make_job(), tmp_path / "b.parts", tmp_path / "same.json", rank=1, world=2) is None
    shared = run(make_job(), tmp_path / "b.parts", tmp_path / "same.json", rank=0, world=2)
    assert timeless(shared) == timeless(whole)


def test_the_size_of_batches_does_not_matter(make_job, tmp_path):
    results = [
        run(make_job(replace(WANTED, batch=batch)), tmp_path / f"{batch}.parts", tmp_path / f"{batch}.json")
        for batch in (3, 10)
    ]
    for one, other in zip(*(timeless(result).figures for result in results), strict=True):
        assert (one.metric, one.length) == (other.metric, other.length)
        assert one.value == pytest.approx(other.value, rel=1e-3, abs=1e-3)


def test_another_measurement_is_refused_and_told_apart(make_job, make_tokenizer, tmp_path):
    run(make_job(), tmp_path / "parts", tmp_path / "r.json")
    with pytest.raises(ValueError, match="different in .*5 of 10 evenly spaced"):
        run(make_job(limit=5), tmp_path / "parts", tmp_path / "r.json")
    slower = make_job(replace(WANTED, options=(("steps", 3),)))
    with pytest.raises(
        ValueError, match="different in subject.settings: steps 2 against steps 3: give the same command"
    ):
        run(slower, tmp_path / "parts", tmp_path / "r.json")
    other = make_tokenizer()
    next(other.decoder.parameters()).data.add_(1e-3)  # ids are the same, images are not
    with pytest.raises(ValueError, match="different in subject.settings: weights"):
        run(make_job(tokenizer=other), tmp_path / "parts", tmp_path / "r.json")
    other = make_tokenizer()  # equal weights that are asked otherwise
    other.config = replace(other.config, decoder=replace(other.config.decoder, guidance="cfg:6"))
    with pytest.raises(ValueError, match="subject.settings: guidance .*, decoder .* against guidance .*cfg:6, decoder"):
        run(make_job(tokenizer=other), tmp_path / "parts", tmp_path / "r.json")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("keep me")
    with pytest.raises(ValueError, match="holds other files"):
        run(make_job(), tmp_path / "mine", tmp_path / "r.json")


def test_a_decoder_that_fails_is_named_with_the_image(make_job, make_tokenizer, monkeypatch, tmp_path):
    tokenizer = make_tokenizer()
    monkeypatch.setattr(tokenizer.space, "decode", lambda latents: latents * torch.nan)
    with pytest.raises(ValueError, match="NaN for image 0 at length 1, seed 0"):
        run(make_job(tokenizer=tokenizer), tmp_path / "parts", tmp_path / "r.json")
    assert not list((tmp_path / "parts").glob("*.safetensors"))
    next(tokenizer.encoder.parameters()).data.fill_(torch.nan)  # which comes first, and is not the decoder's fault
    with pytest.raises(ValueError, match="the encoder gave NaN for image 0 of 4: check its weights"):
        run(make_job(tokenizer=tokenizer), tmp_path / "other", tmp_path / "r.json")


def test_continuous_tokens_of_a_pixel_decoder_have_neither_bits_nor_steps(make_job, make_config, randomise, tmp_path):
    config = replace(
        make_config(),
        encoder=replace(make_config().encoder, slot_dim=5),
        quantizer=ContinuousConfig(5),
        decoder=PixelDecoderConfig(3, 4, 32, 2, (4, 4), 8, 5, 16),
    )
    job = make_job(replace(WANTED, options=()), tokenizer=randomise(Tokenizer(config)))
    result = run(job, tmp_path / "parts", tmp_path / "r.json")
    assert result is not None and result.of("psnr") and not result.of("bits_raw") and not result.of("codes_used")
    assert result.of("psnr")[0].bytes is None
    assert result.of("psnr")[0].spread == 0  # no noise
    assert any("continuous" in note for note in result.notes)
    assert [setting.name for setting in result.subject.settings] == ["decode seeds", "decoder", "weights"]


def test_bits_under_another_generator_are_another_metric(make_job, randomise):
    job, networks = make_job(), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        gpt = GPTConfig(32, 1, 64_000, 8, (8, 8, 8, 5, 5, 5), head_dim=16)
        config = GeneratorConfig(gpt, LabelPrefixConfig(("a", "b")), "t", job.tokenizer.fingerprint())
        made = Reconstruction(
            "tiny", job.tokenizer, job.reference, job.survey, WANTED, choose(["bits"]), (), Generator(config)
        )
        networks.append(made.scorer)
        assert made.scorer in made.plan.networks
    assert networks[0] != networks[1] and networks[0].name == networks[1].name == "generator"


def test_notes_say_what_is_left_out_and_biased(make_job):
    notes = "\n".join(make_job().tools.notes)
    assert "ms-ssim is left out: it needs sides of 176 pixels or more, these are 16" in notes
    few = "\n".join(make_job(limit=3).tools.notes)
    assert "frechet of quarters: 3 images for 4 features" in few and "biased" in few
    assert "neighbours is left out" in "\n".join(make_job(metrics=("neighbours",), limit=3).tools.notes)


def test_impossible_wishes_are_refused(make_job, make_tokenizer, pictures, quarters_network):
    with pytest.raises(ValueError, match=r"lengths \[9\]: allowed is 1 <= length <= 8"):
        make_job(replace(WANTED, lengths=(1, 9)))
    with pytest.raises(ValueError, match="different seeds"):
        make_job(replace(WANTED, seeds=(1, 1)))
    with pytest.raises(ValueError, match="no metric 'pnsr'; did you mean 'psnr'"):
        make_job(metrics=("pnsr",))
    wrong = Reference(str(pictures), (16, 20))
    with pytest.raises(ValueError, match="networks quarters, quarters are not told apart"):
        right = Reference(str(pictures), (16, 16))
        Reconstruction(
            "tiny", make_tokenizer(), right, right.survey(), WANTED, choose(["kid"]), ("quarters", "quarters")
        )
    with pytest.raises(ValueError, match=r"\(16, 20\) pixels, the tokenizer \(16, 16\)"):
        Reconstruction("tiny", make_tokenizer(), wrong, wrong.survey(), WANTED, choose(["psnr"]))


def test_mistakes_are_named_before_the_work(make_job, tmp_path):
    with pytest.raises(ValueError, match="give different ones"):
        make_job(replace(WANTED, lengths=(1, 1)))
    with pytest.raises(ValueError, match="no metrics: give some of psnr"):
        make_job(metrics=())
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file").touch()
    for name, message in (
        ("r.webp", "name the result .json"),
        ("r.parts", "name the result"),
        ("folder.json", "is a folder"),
        ("file/deep/r.json", "file is a file, not a folder"),
    ):
        with pytest.raises(ValueError, match=message):
            run(make_job(), tmp_path / "parts", tmp_path / name)
    assert not (tmp_path / "parts").exists()
