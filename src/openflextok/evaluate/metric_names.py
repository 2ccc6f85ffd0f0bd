"""How metrics are called where people read them: title, unit, which way is better, decimals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MetricName:
    """One metric in words."""

    title: str
    unit: str = ""
    better: Literal["higher", "lower", ""] = ""
    """Empty where neither is better, or this library does not know the metric."""
    decimals: int = 3
    role: Literal["quality", "cost", "setting"] = "quality"
    """What it says: how good images are, what they cost, or what one point of a curve was made with."""

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
    "lpips-alex": MetricName("LPIPS Alex", "", "lower", 3),
    "lpips-vgg": MetricName("LPIPS VGG", "", "lower", 3),
    "encode_seconds": MetricName("Encoding time", "s per image", "lower", 4, "cost"),
    "decode_seconds": MetricName("Decoding time", "s per image", "lower", 4, "cost"),
    "empty_bytes": MetricName("File without content", "bytes", "", 0, "setting"),
    "quality": MetricName("Quality setting", "", "", 0, "setting"),
    "coded_height": MetricName("Coded height", "px", "", 0, "setting"),
}


def metric_name(metric: str) -> MetricName:
    """The words for a metric; an unknown one is called as it is."""
    return KNOWN.get(metric, MetricName(metric))
