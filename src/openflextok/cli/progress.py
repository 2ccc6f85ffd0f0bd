"""The bar of a training: loss, images per second, codes used, gradient norm, time left."""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SHOWN = {"loss": "loss {:.4f}", "psnr": "psnr {:.2f}", "codes_used": "codes {:.0f}", "gradient_norm": "grad {:.2f}"}


class TrainingBar:
    """A context whose `update(step, figures)` moves the bar; prints plain lines where there is no terminal."""

    def __init__(self, steps: int, visible: bool) -> None:
        columns = (BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self.progress = Progress(*columns, disable=not visible)
        self.visible, self.plain = visible, visible and not self.progress.console.is_terminal
        self.task = self.progress.add_task("", total=steps)
        self.speed = 0.0

    def update(self, step: int, figures: dict[str, float]) -> None:
        speed = figures["images_per_second"]
        self.speed = speed if not self.speed else 0.95 * self.speed + 0.05 * speed
        parts = [form.format(figures[name]) for name, form in SHOWN.items() if name in figures]
        text = "  ".join([*parts, f"{self.speed:.1f} images/s"])
        self.progress.update(self.task, completed=step, description=text)
        if self.plain and (step % 50 == 0 or step == 1):
            print(f"step {step}  {text}", flush=True)

    def __enter__(self) -> TrainingBar:
        if not self.plain:
            self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.plain:
            self.progress.stop()


class ImagesBar:
    """A context whose `advance(images)` moves a bar with images per second and time left; one line at the end."""

    def __init__(self, images: int, visible: bool) -> None:
        columns = (BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self.progress = Progress(*columns, disable=not visible, transient=True)
        self.task = self.progress.add_task("", total=images)
        self.visible, self.done = visible, 0
        self.begin = self.last = time.perf_counter()

    def advance(self, images: int = 1) -> None:
        self.done += images
        self.last = time.perf_counter()
        self.progress.update(self.task, completed=self.done, description=self._speed())

    def _speed(self) -> str:
        return f"{self.done / (self.last - self.begin):.1f} images/s"

    def __enter__(self) -> ImagesBar:
        self.progress.start()
        self.begin = self.last = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()
        if self.visible and self.done:
            print(f"{self.done} images, {self._speed()}")
