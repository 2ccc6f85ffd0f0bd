"""The training loop: batches in, phases of an objective forward and backward, checkpoints out.

A run is a function of its recipe alone: the batch and the randomness of step s depend on (seed, s), so that a run
that was killed and started again continues bit for bit (on one machine and thread count).
"""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file

from openflextok.config import to_dict
from openflextok.files import atomic_folder, write_atomic
from openflextok.nets.attention import attention_backend
from openflextok.nets.transformer import compile_blocks
from openflextok.train import parallel, state
from openflextok.train.feeds import Examples, Feed
from openflextok.train.log import RunLog
from openflextok.train.objectives import Objective
from openflextok.train.optim import EMA, adamw, rate_at, set_rate
from openflextok.train.parallel import World
from openflextok.train.settings import Recipe, TrainConfig
from openflextok.train.state import Counters, Trained
from openflextok.types import Draws, Losses

logger = logging.getLogger(__name__)
Report = Callable[[int, dict[str, float]], None]  # called with the step and its figures, for a progress bar


class TrainingDiverged(RuntimeError):
    """Training stopped because losses or gradients were not finite several steps in a row."""


class Trainer:
    """Runs an objective to the end of its recipe, or until a time limit or SIGTERM; resumes what OUT holds."""

    def __init__(
        self,
        recipe: Recipe,
        objective: Objective,
        feed: Feed,
        out: Path,
        world: World,
        report: Report = lambda step, figures: None,
    ) -> None:
        self.recipe, self.objective, self.feed, self.out, self.world = recipe, objective, feed, out, world
        self.config: TrainConfig = recipe.train
        self.report = report
        if self.config.batch_size % world.size:
            raise ValueError(f"batch_size {self.config.batch_size} is not a multiple of the {world.size} processes")
        self.trained = [self._prepare(phase.name, phase.module) for phase in objective.phases]
        self.counters = Counters()
        self.saved = 0  # the last step with a checkpoint
        self.stop = False

    def _prepare(self, name: str, module: torch.nn.Module) -> Trained:
        wrapped = parallel.wrap(module, self.world, self.config.parallel)
        if self.config.compile:
            compile_blocks(module)
        optim = self.config.optim
        return Trained(name, module, wrapped, adamw(module, optim), EMA(module, optim.ema_decay))

    # -- the loop -----------------------------------------------------------------------------------------------

    def run(self, max_minutes: float = float("inf")) -> Counters:
        """Train; returns the counters. The last state is saved however the loop ends, except by a crash."""
        deadline = time.monotonic() + 60 * max_minutes
        self._resume()
        config = self.config
        batches = self.feed.batches(
            config.batch_size, config.seed, self.counters.step, self.world.rank, self.world.size
        )
        self.log = RunLog(self.out, self.counters.step) if self.world.leads else None
        with self._stop_on_sigterm(), attention_backend(self.config.attention):
            started = time.monotonic()
            while self.counters.step < self.config.steps:
                batch = next(batches)
                figures = self._step(batch)
                self.counters.step += 1
                self._record(batch, figures, time.monotonic() - started)
                started = time.monotonic()
                if parallel.any_of(self.world, self.stop or time.monotonic() > deadline):
                    break
                if self.counters.step % self.config.save_every == 0:
                    self._save()
            self._save()
        if self.log is not None:
            self.log.close()
        return self.counters

    def _step(self, batch: Examples) -> dict[str, float]:
        """All phases on one batch; returns the figures for the log."""
        step = self.counters.step
        share = rate_at(step, self.config.steps, self.config.optim)
        figures: dict[str, float] = {}
        for phase, of_objective in zip(self.trained, self.objective.phases, strict=True):
            set_rate(phase.optimizer, share)
            losses = self._backward(phase, batch)
            parameters = [p for group in phase.optimizer.param_groups for p in group["params"]]
            norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.optim.clip_norm)
            values = {"loss": losses.total, **losses.terms, **losses.metrics}
            means = parallel.mean_over(
                self.world, torch.stack([v.detach().float().to(self.world.device) for v in values.values()])
            )
            finite = bool(torch.isfinite(means[0])) and bool(torch.isfinite(parallel.whole(norm)))
            prefix = "" if phase is self.trained[0] else f"{phase.name}/"
            figures |= {prefix + name: v for name, v in zip(values, means.tolist(), strict=True)}
            figures |= {f"{prefix}gradient_norm": float(parallel.whole(norm))}
            if not finite:
                of_objective.end_step(False)
                self._skip(phase.name, batch)
                return figures
            phase.optimizer.step()
            phase.ema.update(step)
            of_objective.end_step(True)
        self.counters.skipped_in_a_row = 0
        return figures | {"learning_rate": share * self.config.optim.learning_rate}

    def _backward(self, phase: Trained, batch: Examples) -> Losses:
        """Forward and backward in micro-batches; gradients are those of the mean over the whole batch."""
        inputs = list(batch.to(self.world.device).inputs.values())
        count = len(inputs[0])
        seeds = self._seeds(count)
        size = self.config.micro_batch_size or count
        phase.optimizer.zero_grad(set_to_none=True)
        parts: list[tuple[float, Losses]] = []
        for start in range(0, count, size):
            rows = slice(start, start + size)
            weight = len(seeds[rows]) / count
            with parallel.accumulating(phase.wrapped, last=start + size >= count):
                with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
                    draws = Draws(seeds[rows], self.world.device)
                    losses = Losses(*phase.wrapped(*(x[rows] for x in inputs), draws, self.counters.step))
                (losses.total * weight).backward()
            parts.append((weight, losses))
        mean = {name: sum(w * part.terms[name].detach() for w, part in parts) for name in parts[0][1].terms}
        metrics = {name: sum(w * part.metrics[name] for w, part in parts) for name in parts[0][1].metrics}
        return Losses(mean, metrics)  # pyright: ignore[reportArgumentType]

    def _seeds(self, count: int) -> list[int]:
        """One seed per sample of this process, from its place among all samples of the run."""
        first = self.counters.step * self.config.batch_size + self.world.rank * count
        return [(self.config.seed << 40) + first + i for i in range(count)]

    # -- what goes wrong ----------------------------------------------------------------------------------------

    def _skip(self, phase: str, batch: Examples) -> None:
        """Count a step that a phase could not take, keep its batch for inspection, and give up after too many in a row."""
        self.counters.skipped += 1
        self.counters.skipped_in_a_row += 1
        folder = self.out / "nonfinite"
        folder.mkdir(exist_ok=True)
        name = f"step-{self.counters.step:08d}-rank{self.world.rank}"
        inputs = {key: value.cpu().contiguous() for key, value in batch.inputs.items()}
        save_file(inputs, folder / f"{name}.safetensors")
        write_atomic(folder / f"{name}.json", json.dumps({"keys": list(batch.keys)}))
        logger.warning(
            "step %d: loss or gradient of the %s is not finite; its step is skipped, the batch saved in %s",
            self.counters.step,
            phase,
            folder,
        )
        if self.counters.skipped_in_a_row >= self.config.nonfinite_patience:
            raise TrainingDiverged(
                f"stopped at step {self.counters.step}: {self.counters.skipped_in_a_row} steps in a row had a non-finite "
                f"loss or gradient. Their batches are in {folder}. Lower train.optim.learning_rate, lengthen "
                "train.optim.warmup_steps, or try train.precision=fp32; the last good state is kept."
            )

    @contextmanager
    def _stop_on_sigterm(self) -> Iterator[None]:
        def ask_to_stop(*_: object) -> None:
            self.stop = True

        before = signal.signal(signal.SIGTERM, ask_to_stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    # -- records and checkpoints --------------------------------------------------------------------------------

    def _record(self, batch: Examples, figures: dict[str, float], seconds: float) -> None:
        step, last = self.counters.step, self.counters.step == self.config.steps
        self.counters.corrupt += parallel.sum_over(self.world, len(batch.corrupt))
        speed = {"images_per_second": self.config.batch_size / max(seconds, 1e-9)}
        for reason in batch.corrupt:
            logger.warning("step %d: skipped an unreadable image: %s", step, reason)
        if self.log is not None:
            self.log.corrupt(step, batch.corrupt)
            self.report(step, figures | speed)
            if step % self.config.log_every == 0 or step == 1 or last:
                self.log.metrics(step, figures)
                self.log.timing(step, speed)
        if step % self.config.preview_every == 0 or last:
            with self._averaged():
                picture = self.objective.preview()
            if self.world.leads:
                (self.out / "previews").mkdir(exist_ok=True)
                picture.save(self.out / "previews" / f"step-{step:08d}.png")

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Inside, the modules hold their averaged weights, in evaluation mode, with autocast as in training."""
        with ExitStack() as stack:
            for phase in self.trained:
                stack.enter_context(phase.ema.applied())
                stack.enter_context(parallel.gathered(phase.module))
            enabled = self.config.precision == "bf16"
            stack.enter_context(torch.autocast(self.world.device.type, torch.bfloat16, enabled=enabled))
            yield

    def _save(self) -> None:
        """Write resume state and inference folder as one folder, whole or not at all."""
        if self.saved == self.counters.step:
            return
        self.saved = self.counters.step
        folder = state.folder_of(self.out, self.counters.step)
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_folder(folder)) if self.world.leads else None
            state.write_state(temporary and temporary / "resume", self.trained, self.counters)
            with self._averaged():
                self.objective.export(temporary and temporary / "model", self._describe())
        if self.world.leads:
            state.publish(self.out, folder, self.config.keep)

    def _describe(self) -> str:
        images = self.counters.step * self.config.batch_size
        return f"recipe {self.recipe.name}, {self.counters.step} steps, {images} images, seed {self.config.seed}"

    def _resume(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        if self.world.leads:
            state.clear_leftovers(self.out)
        facts = to_dict(self.recipe) | {"facts": dict(self.objective.facts)}
        found = state.finished_checkpoints(self.out)
        if found:
            state.check_recipe(self.out, facts)
            self.counters = state.read_state(found[-1] / "resume", self.trained)
            self.saved = self.counters.step
            logger.info("resumed from %s", found[-1])
        elif self.world.leads:
            state.write_recipe(self.out, facts)
