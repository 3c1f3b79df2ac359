"""Estimates with their errors, passages of a text, and the plot of sizes."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from exporter.bundle.reader import open_bundle
from exporter.compare.figures import DraftFigures, Estimate
from exporter.compare.passages import PassagePlan, TextFileError, cut, read_text_file
from exporter.compare.size_plot import Dot, place_labels, plot_dots
from exporter.report.pages import picture
from exporter.report.plots import Axis, Plot
from runtime_py.chat.tokenizer import Tokenizer
from runtime_py.loop.rounds import Acceptance


class TestEstimates:
    """Against plain statistics."""

    def test_the_error_of_a_mean_is_that_of_its_passages(self) -> None:
        found = Estimate.of_means([1.0, 2.0, 3.0, 4.0])
        assert found.value == 2.5
        assert found.error == pytest.approx(np.std([1, 2, 3, 4], ddof=1) / 2)

    def test_a_share_weighs_passages_by_their_tries(self) -> None:
        found = Estimate.of_shares([9, 0], [90, 10])
        assert found is not None
        assert found.value == pytest.approx(0.09)

    def test_the_error_of_a_share_is_what_repetition_gives(self) -> None:
        """Passages differ in their chance and length; the estimate stands for all such samples."""
        random = np.random.default_rng(5)
        values, errors = [], []
        for _ in range(400):
            tries = random.integers(20, 60, size=40)
            hits = random.binomial(tries, random.beta(4, 4, size=40))
            found = Estimate.of_shares(hits.tolist(), tries.tolist())
            assert found is not None
            values.append(found.value)
            errors.append(found.error)
        assert np.mean(errors) == pytest.approx(np.std(values), rel=0.1)

    def test_without_tries_there_is_none(self) -> None:
        assert Estimate.of_shares([0], [0]) is None
        assert DraftFigures.of([]) is None

    def test_one_passage_has_no_error(self) -> None:
        assert math.isnan(Estimate.of_means([1.0]).error)

    def test_counts_add_up_by_position(self) -> None:
        found = DraftFigures.of([Acceptance((10, 10, 10), (5, 4, 3)), Acceptance((10, 4), (10, 2))])
        assert found is not None
        assert found.counts == Acceptance((20, 14, 10), (15, 6, 3))
        assert found.by_position == (15 / 20, 6 / 14, 3 / 10)
        assert found.share.value == pytest.approx(24 / 44)

    def test_a_loss_has_the_error_of_the_difference(self) -> None:
        """Passages that differ much, and a bundle that loses one draft in each of them: no error."""
        reference = DraftFigures.of([Acceptance((10,), (hits,)) for hits in (1, 5, 9)])
        worse = DraftFigures.of([Acceptance((10,), (hits,)) for hits in (0, 4, 8)])
        assert reference is not None
        assert worse is not None
        found = worse.lost(reference)
        assert found.value == pytest.approx(0.1)
        assert found.error == pytest.approx(0.0, abs=1e-12)
        assert reference.share.error > 0.1


class TestPassages:
    """On the tiny pair's tokenizer."""

    @pytest.fixture
    def tokenizer(self, plain_bundle: Path) -> Tokenizer:
        return Tokenizer(open_bundle(plain_bundle))

    def test_they_are_equally_long_and_begin_as_a_conversation_does(
        self, tokenizer: Tokenizer
    ) -> None:
        text = " ".join(str(number) for number in range(600))
        passages = cut(text, tokenizer, PassagePlan(passages=6, length=40))
        assert {len(passage) for passage in passages} == {40}
        assert {passage[0] for passage in passages} == {tokenizer.start_token}
        assert len(passages) == 6
        everything = tokenizer.encode(text)
        bodies = [everything[i : i + 39] for i in range(0, len(everything), 39)]
        places = [bodies.index(list(passage[1:])) for passage in passages]
        assert places == [index * (len(everything) // 39) // 6 for index in range(6)]

    def test_a_short_text_is_refused(self, tokenizer: Tokenizer) -> None:
        with pytest.raises(TextFileError, match="give a longer text"):
            cut("too short", tokenizer, PassagePlan())

    def test_a_file_that_is_no_text_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(b"\xff\xfe\xff")
        for name in ("x", "missing"):
            with pytest.raises(TextFileError, match="expected a text file in UTF-8"):
                read_text_file(tmp_path / name)


class TestPlot:
    """What the picture says, not how it looks."""

    POINTS = tuple(Dot(f"recipe-{i}", 5.0 + 0.01 * i, 0.6 + 0.002 * i, 0.01) for i in range(6))

    def test_it_is_a_picture_with_a_dot_for_each_recipe(self) -> None:
        drawn = picture(plot_dots(self.POINTS))
        assert drawn == picture(plot_dots(self.POINTS))
        root = ElementTree.fromstring(drawn)  # noqa: S314 (we wrote it)
        circles = list(root.iter("{http://www.w3.org/2000/svg}circle"))
        assert len(circles) == len(self.POINTS)
        assert [c.get("class") for c in circles] == ["s1"] * len(self.POINTS)

    def test_larger_is_further_right_and_better_is_higher(self) -> None:
        two = (Dot("a & <b>", 2.0, 0.5, 0.0), Dot("b", 8.0, 0.7, 0.0))
        root = ElementTree.fromstring(picture(plot_dots(two)))  # noqa: S314 (we wrote it)
        a, b = root.iter("{http://www.w3.org/2000/svg}circle")
        assert float(a.get("cx", "")) < float(b.get("cx", ""))
        assert float(a.get("cy", "")) > float(b.get("cy", ""))

    def test_names_of_near_dots_do_not_lie_over_each_other(self) -> None:
        plot = Plot("", Axis(1, 10, logarithmic=True), Axis(0.5, 0.7), height=396)
        spots = list(place_labels(self.POINTS, plot))
        boxes = []
        for spot, dot in zip(spots, self.POINTS, strict=True):
            width = 6.0 * len(dot.name)
            boxes.append((spot.x - width if spot.end else spot.x, width, spot.y))
        for i, (left, width, height) in enumerate(boxes):
            for other_left, other_width, other_height in boxes[:i]:
                apart = left + width <= other_left or other_left + other_width <= left
                assert apart or abs(height - other_height) >= 12
