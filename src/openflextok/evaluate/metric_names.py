"""How metrics are called where people read them: title, unit, which way is better, decimals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Group = Literal["pairs", "colour", "sets", "codes", "token", "needed", "cost", "setting", "details", "probe"]
"""Of images compared one by one, of their colours, of sets of images, of codes and bits, of single tokens, of tokens needed, of
time, what a point of a curve was made with, of words and faces, and of classes read off tokens."""


@dataclass(frozen=True)
class MetricName:
    """One metric in words."""

    title: str
    unit: str = ""
    better: Literal["higher", "lower", ""] = ""
    """Empty where neither is better, or this library does not know the metric."""
    decimals: int = 3
    group: Group = "pairs"

    @property
    def heading(self) -> str:
        """'PSNR (dB)'."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def text(self, value: float) -> str:
        """A value as it is printed: '15.38'."""
        return f"{value:,.{self.decimals}f}"


KNOWN = {
    "psnr": MetricName("PSNR", "dB", "higher", 2),
    "ssim": MetricName("SSIM", "", "higher", 3),
    "ms-ssim": MetricName("MS-SSIM", "", "higher", 3),
    "lpips-alex": MetricName("LPIPS Alex", "", "lower", 3),
    "lpips-vgg": MetricName("LPIPS VGG", "", "lower", 3),
    "red_shift": MetricName("Red shift", "8-bit levels", "", 2, "colour"),
    "green_shift": MetricName("Green shift", "8-bit levels", "", 2, "colour"),
    "blue_shift": MetricName("Blue shift", "8-bit levels", "", 2, "colour"),
    "saturation_shift": MetricName("Saturation shift", "", "", 4, "colour"),
    "frechet": MetricName("Frechet distance", "", "lower", 2, "sets"),
    "class_score": MetricName("MobileNet class score", "", "higher", 2, "sets"),
    "kid": MetricName("KID", "", "lower", 4, "sets"),
    "precision": MetricName("Precision", "", "higher", 3, "sets"),
    "recall": MetricName("Recall", "", "higher", 3, "sets"),
    "density": MetricName("Density", "", "higher", 3, "sets"),
    "coverage": MetricName("Coverage", "", "higher", 3, "sets"),
    "codes_used": MetricName("Codes used", "", "", 0, "codes"),
    "perplexity": MetricName("Perplexity", "codes", "", 1, "codes"),
    "bits_raw": MetricName("Raw bits", "bits per image", "", 1, "codes"),
    "bits_order0": MetricName("Order-0 bits", "bits per image", "lower", 1, "codes"),
    "bits_generator": MetricName("Bits under the generator", "bits per image", "lower", 1, "codes"),
    "bits_per_token": MetricName("Bits per token", "bits", "lower", 3, "codes"),
    "bits_per_token_unconditional": MetricName("Bits per token without condition", "bits", "lower", 3, "codes"),
    "bits_per_token_uniform": MetricName("Bits per token of uniform ids", "bits", "", 3, "codes"),
    "token_codes_used": MetricName("Codes used by one token", "", "", 0, "token"),
    "token_perplexity": MetricName("Perplexity of one token", "codes", "", 1, "token"),
    "near_enough": MetricName("Near enough", "share of images", "", 3, "needed"),
    "tokens_needed_q25": MetricName("Tokens needed, lower quartile", "", "", 0, "needed"),
    "tokens_needed_q50": MetricName("Tokens needed, median", "", "", 0, "needed"),
    "tokens_needed_q75": MetricName("Tokens needed, upper quartile", "", "", 0, "needed"),
    "rank_webp": MetricName("Rank correlation with WebP bytes", "", "", 2, "needed"),
    "rank_gradient": MetricName("Rank correlation with squared gradient", "", "", 2, "needed"),
    "rises": MetricName("Steps at which one more token is farther", "share", "", 3, "needed"),
    "sample_seconds": MetricName("Sampling time", "s per image", "lower", 4, "cost"),
    "decode_seconds": MetricName("Decoding time", "s per image", "lower", 4, "cost"),
    "quality": MetricName("Quality setting", "", "", 0, "setting"),
    "coded_height": MetricName("Coded height", "px", "", 0, "setting"),
    "empty_bytes": MetricName("File without content", "bytes", "", 0, "setting"),
    "word_accuracy": MetricName("Words read right", "", "higher", 3, "details"),
    "edit_similarity": MetricName("1 - normalised edit distance", "", "higher", 3, "details"),
    "face_similarity": MetricName("Face similarity", "cosine", "higher", 3, "details"),
    "faces_recognised": MetricName("Faces recognised", "", "higher", 3, "details"),
    "other_faces": MetricName("Similarity of different faces", "cosine", "", 3, "details"),
    "probe_accuracy": MetricName("Classes named right", "", "higher", 3, "probe"),
    "probe_top5": MetricName("Classes among the first five", "", "higher", 3, "probe"),
    "chance": MetricName("Chance", "", "", 3, "probe"),
    "most_frequent": MetricName("Always the most frequent class", "", "", 3, "probe"),
}
ARMS = {
    "space": "latent space without tokens",
    "original": "the originals",
    "tokens": "its tokenizer alone",
    "train": "training images",
}
"""What else a result compares with the real images: "space-psnr" is the PSNR of the latent space alone."""


def metric_name(metric: str) -> MetricName:
    """The words for a metric, "psnr", or for a metric of some heights, "word_accuracy@1/8"; else its own name."""
    base, _, height = metric.partition("@")
    if height and base in KNOWN:
        return replace(KNOWN[base], title=f"{KNOWN[base].title}, height from {height}")
    return KNOWN.get(metric, MetricName(metric))


def arm_of(metric: str) -> tuple[str, str]:
    """ "space-psnr" -> ("space", "psnr"); metrics of the subject itself, and unknown ones, have an empty arm."""
    arm, dash, rest = metric.partition("-")
    return (arm, rest) if dash and metric not in KNOWN and rest.partition("@")[0] in KNOWN else ("", metric)
