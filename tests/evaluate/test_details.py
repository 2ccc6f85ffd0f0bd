"""Words and faces: distances against brute force, boxes against arithmetic, and what blur does to a reader of templates."""

from __future__ import annotations

import cmath
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from openflextok.evaluate.details.boxes import Box, cut, in_order, octave
from openflextok.evaluate.details.edits import edit_distance, edit_similarity, plain
from openflextok.evaluate.details.face_networks import DETECTED_SIDE, PLACES, Face, FaceNetworks, apart, placing
from openflextok.evaluate.details.job import by_height
from openflextok.evaluate.details.reader import Reading, connected, ctc, detected_size, text_boxes
from openflextok.evaluate.details.sheets import SHARES, RenderedWords
from openflextok.evaluate.details.words import rendered_check
from openflextok.evaluate.metric_names import arm_of, metric_name
from openflextok.evaluate.reference import Reference
from openflextok.evaluate.results import Network

NETWORK = Network("stub", "cd" * 32)


def test_edit_distance_is_the_recursion():
    @cache
    def brute(a: str, b: str) -> int:
        if not a or not b:
            return len(a) + len(b)
        return min(brute(a[1:], b) + 1, brute(a, b[1:]) + 1, brute(a[1:], b[1:]) + (a[0] != b[0]))

    words = ["".join(letters) for size in range(4) for letters in product("ab", repeat=size)] + ["kitten", "sitting"]
    for a, b in product(words, words):
        assert edit_distance(a, b) == brute(a, b)
    assert edit_distance("kitten", "sitting") == 3
    assert edit_similarity("kitten", "sitting") == pytest.approx(4 / 7)
    assert edit_similarity("", "") == 1 and edit_similarity("", "ab") == 0
    assert plain("Ca-fé 2!") == "café2"


def test_ctc_joins_repetitions_and_drops_blanks():
    letters = ["", "a", "b"]
    steps = [(0, 0.9), (1, 0.8), (1, 0.7), (0, 0.6), (1, 0.9), (2, 0.95), (0, 1.0)]  # -aa-ab- is "aab"
    probabilities = np.full((len(steps), 3), 0.01)
    for step, (letter, sure) in enumerate(steps):
        probabilities[step, letter] = sure
    assert ctc(probabilities, letters) == Reading("aab", 0.8)
    assert ctc(np.array([[1.0, 0, 0]]), letters) == Reading("", 0.0)


def test_octaves():
    assert [octave(share) for share in (1, 0.5, 0.499, 0.25, 0.2, 1 / 8, 1 / 16, 0.0624)] == [
        "1/2", "1/2", "1/4", "1/4", "1/8", "1/8", "1/16", "1/32",
    ]  # fmt: skip
    assert in_order(["1/2", "1/16", "1/2", "1/8"]) == ["1/16", "1/8", "1/2"]
    for share in (0, 1.1):
        with pytest.raises(ValueError, match="impossible"):
            octave(share)


def test_figures_stand_once_over_all_and_once_for_each_height():
    values_SI = torch.tensor([[1.0, 0, 0, 9], [0.0, 1, 0, float("nan")]]).double()
    all_of, small, large = by_height("word_accuracy", values_SI, ["1/2", "1/8", "1/8", "1/4"], NETWORK, 4, 8.0)
    assert (all_of.metric, all_of.images, all_of.length, all_of.bytes) == ("word_accuracy", 3, 4, 8.0)
    assert all_of.value == pytest.approx(1 / 3) and all_of.spread == pytest.approx(0)
    assert (small.metric, small.value, small.images) == ("word_accuracy@1/8", 0.25, 2)
    assert small.spread == pytest.approx(0.125**0.5) and (small.low, small.high) == (0.0, 0.5)
    assert (large.metric, large.value) == ("word_accuracy@1/2", 0.5)
    assert metric_name(small.metric).title == "Words read right, height from 1/8" and metric_name("x@y").title == "x@y"
    assert arm_of("space-word_accuracy@1/8") == ("space", "word_accuracy@1/8")
    assert arm_of("word_accuracy@1/8") == ("", "word_accuracy@1/8") and arm_of("lpips-alex") == ("", "lpips-alex")


# -- where things are ------------------------------------------------------------------------------------------------


def test_connected_parts_are_those_of_a_flood():
    mask = torch.rand(14, 17, generator=torch.Generator().manual_seed(0)) < 0.4
    labels, seen = connected(mask), {}
    for start in map(tuple, mask.nonzero().tolist()):
        if start in seen:
            continue
        waiting, number = [start], len(seen) + 1
        while waiting:
            row, column = waiting.pop()
            if (row, column) in seen or not (0 <= row < 14 and 0 <= column < 17) or not mask[row, column]:
                continue
            seen[row, column] = number
            waiting += [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    pairs = {(seen[place], int(labels[place])) for place in seen}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert not labels[~mask].any()


def test_text_boxes_grow_and_go_back_to_the_picture():
    probability = torch.zeros(64, 96)
    probability[16:24, 40:80] = 0.9
    probability[48:52, 0:4] = 0.35  # not sure enough
    (box,) = text_boxes(probability)
    grown = 40 * 8 * 1.6 / (2 * 48)
    assert box == Box(40 - grown, 16 - grown, 80 + grown, 24 + grown)
    assert box.scaled(0.5, 0.25).width == pytest.approx(box.width / 2)
    assert detected_size((128, 128)) == (736, 736) and detected_size((1000, 800)) == (992, 800)
    assert Box(-3, 2, 500, 9).within(128, 5) == Box(0, 2, 128, 5)
    picture = Image.new("RGB", (8, 8))
    picture.paste((255, 0, 0), (2, 4, 6, 8))
    assert cut(picture, Box(2, 4, 6, 8), (4, 4)).getcolors() == [(16, (255, 0, 0))]


def test_a_similarity_puts_points_in_place():
    turn, shift = 1.7 * cmath.exp(0.4j), 5 - 3j
    moved = [turn * complex(x, y) + shift for x, y in PLACES]
    a, b, c, d, e, f = placing(PLACES, tuple((point.real, point.imag) for point in moved))
    assert (a, b, d, e) == pytest.approx((turn.real, -turn.imag, turn.imag, turn.real))
    assert (c, f) == pytest.approx((5, -3))


class OneFace:
    """A detector that sees one face at the cell of row 10, column 20 of stride 16; an embedder of mean colours."""

    sha256 = "ef" * 32

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        if x.shape[-1] != DETECTED_SIDE:
            return {"embedding": x.mean((2, 3))}
        outputs = {}
        for stride in (8, 16, 32):
            cells = (DETECTED_SIDE // stride) ** 2
            for name, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
                outputs[f"{name}_{stride}"] = np.zeros((1, cells, width), np.float32)
        place = 10 * 40 + 20
        outputs["cls_16"][0, place] = outputs["obj_16"][0, place] = 0.9
        outputs["bbox_16"][0, place] = (0.5, 0.25, np.log(4), np.log(6))
        outputs["kps_16"][0, place] = np.arange(10)
        return outputs


def test_faces_are_mapped_back_to_the_picture():
    networks = FaceNetworks(OneFace(), OneFace())  # pyright: ignore[reportArgumentType]
    (face,) = networks.find(Image.new("RGB", (1280, 640)))  # the detector sees it at half the size
    assert (face.box.left, face.box.top, face.box.width, face.box.height) == pytest.approx((592, 232, 128, 192))
    assert face.points[1] == pytest.approx((2 * 16 * 22, 2 * 16 * 13)) and face.score == pytest.approx(0.9)
    red = networks.embed(Image.new("RGB", (64, 64), (200, 0, 0)), PLACES)
    assert red == pytest.approx([1, 0, 0], abs=1e-6)


def test_of_overlapping_faces_the_surest_stays():
    first, near, far = (Face(Box(x, 0, x + 10, 10), (), score) for x, score in ((0, 0.9), (2, 0.95), (40, 0.85)))
    assert apart([first, near, far]) == [near, far]


# -- rendered words --------------------------------------------------------------------------------------------------


def test_rendered_words_are_the_same_for_one_seed():
    one, same, other = (RenderedWords((128, 96), 3, seed) for seed in (0, 0, 1))
    pixels = [np.asarray(one.picture(index)) for index in range(len(one))]
    assert len(one) == 24 and all(np.array_equal(a, same.picture(i)) for i, a in enumerate(pixels))
    assert not all(np.array_equal(a, other.picture(i)) for i, a in enumerate(pixels))
    for index in range(len(one)):
        line = one.line(index)
        assert line.word == one.words(index).label and line.box.within(96, 128) == line.box
        assert line.box.height / 128 == pytest.approx(SHARES[index // 2 % 4])
    plain_ground = pixels[6]  # 1/2 of the height on one colour: nothing changes outside the box
    box = one.line(6).box
    outside = np.ones((128, 96), bool)
    outside[int(box.top) - 1 : int(box.bottom) + 2, int(box.left) - 1 : int(box.right) + 2] = False
    assert len(np.unique(plain_ground[outside], axis=0)) == 1 < len(np.unique(plain_ground[~outside], axis=0))
    with pytest.raises(ValueError, match="words are impossible at 8 px"):
        RenderedWords((128, 8), 1, 0)


class Templates:
    """A reader of drawn words: the candidate whose drawing in the box is most like what is there."""

    networks = (NETWORK,)

    def __init__(self, source: RenderedWords) -> None:
        self.source = source

    def read(self, picture: Image.Image, box: Box) -> Reading:
        size = (round(box.width), round(box.height))
        seen = np.asarray(cut(picture, box, size).convert("L"), dtype=float)
        likeness = {word: abs(np.corrcoef(seen.flat, self.drawn(word, size).flat)[0, 1]) for word in self.source.chosen}
        best = max(likeness, key=lambda word: likeness[word])
        return Reading(best, likeness[best])

    def drawn(self, word: str, size: tuple[int, int]) -> np.ndarray:
        height = size[1] / 1.2  # the check gives a tenth of the height on each side
        share, margin = height / self.source.height, height / 10
        line, tile = self.source._box(word, share), Image.new("L", size)
        origin = (margin - line.left, margin - line.top)
        ImageDraw.Draw(tile).text(origin, word, 255, self.source._font(share))
        return np.asarray(tile, dtype=float)


def test_a_reader_loses_small_words_to_blur_first():
    source = RenderedWords((128, 128), 6, 0)
    reference = Reference("rendered words (seed 0)", (128, 128), 0, source)
    check = rendered_check(Templates(source), source, reference)  # pyright: ignore[reportArgumentType]
    (stretch,) = reference.batches(100)
    items = check.find(stretch)
    assert [word.text for word in items[::8]] == source.chosen
    pictures = [Image.fromarray(pixels.numpy()) for pixels in stretch.pixels_BHWC]
    right = []
    for side in (128, 24, 10):
        blurred = [picture.resize((side, side)).resize((128, 128)) for picture in pictures]
        accuracy_I = check.score(items, blurred)[:, 0]
        right.append([accuracy_I[place::8].mean().item() for place in (0, 2, 4, 6)])  # on plain colours, by height
    sharp, coarse, worse = right
    assert sharp == [1, 1, 1, 1]
    assert coarse[0] < 0.8 and coarse[3] == 1
    assert sum(worse) < sum(coarse) < 4
