"""The chapter on membership inference: every figure with its interval, and two sentences that say what they mean."""

import numpy as np
import pytest
from planted_report import membership_attacks

from brainldm.formats import membership


def _report(leak: float, **changes: object) -> dict:
    figures, table = membership_attacks(np.random.default_rng(1), leak)
    return {**figures, "tables": {"membership": table}, **changes}


def test_the_chapter_has_a_row_for_every_attack_and_says_for_whom_it_is() -> None:
    report = _report(0.0)
    chapter = membership.chapter(report)
    assert chapter.count("<tr>") == 4 + sum(len(attacks) for attacks in report["tables"]["membership"].values())
    for words in (
        "low-resolution image: distance to the nearest",
        "latent mean",
        "error of the reconstruction",
        "denoising loss",
        "no attack",
    ):
        assert words in chapter
    found = report["tables"]["membership"]["images"]["image_nearest"]
    low, high = found["auc_ci"]
    assert f"{found['auc']:.2f}" in chapter
    assert f"[{low:.2f}, {high:.2f}]" in chapter
    assert "n = 20 against 15" in chapter
    assert "n = 200 training scans against 150 held-out scans" in chapter


@pytest.mark.parametrize("leak", [0.0, 2.0])
def test_two_sentences_say_what_the_figures_mean(leak: float) -> None:
    report = _report(leak)
    note = membership.chapter(report).split('<p class="note">')[1].split("</p>")[0]
    assert note.count(". ") == 1
    assert note.endswith(".")
    assert f"{100 * report['membership_images_auc']:.0f} % of the time (strongest attack of 2; 95 % interval: " in note
    assert f"{100 * report['membership_diffusion_auc']:.0f} % of the time (strongest attack of 1; 95 % interval: " in note
    assert "a coin: 50 %" in note
    assert ("we found no way to tell from the volumes" in note) == (leak == 0)
    assert ("must not be called safe (training scans can be told)" in note) == (leak > 0)
    both = "publish the autoencoder, or latents with it, and the weights of the diffusion model only where it may be known who took part."
    assert (both in note) == (leak > 0)


def test_what_was_not_tried_is_not_called_safe() -> None:
    assert membership.chapter({"tables": {}}) == ""
    report = _report(0.0, membership_images="not enough data", membership_images_auc=None)
    assert "could not be put to the test: the volumes must not be called safe (not enough data)" in membership.of_the_volumes(report)
    assert membership.of_the_models({}).startswith("No attack was made on the networks")
    only = _report(0.0, membership_diffusion="training scans can be told")
    assert "publish the weights of the diffusion model only where" in membership.of_the_models(only)
    assert "autoencoder, or latents" not in membership.of_the_models(only)
