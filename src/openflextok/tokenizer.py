"""The tokenizer: images to ordered tokens and back, from any prefix.

Shape suffixes: B batch, N tokens, D token dimension, C channels, H x W pixels, h x w latents.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from openflextok import config as cfg
from openflextok.config import TokenizerConfig
from openflextok.interfaces import Decoder, Encoder, LatentSpace, LengthPolicy, Quantizer
from openflextok.lengths import Full, UniformChoice
from openflextok.nets.encoders import GridViT, RegisterViT
from openflextok.nets.flow_decoder import FlowDecoder
from openflextok.nets.pixel_decoder import PixelDecoder
from openflextok.nets.transformer import compile_blocks
from openflextok.pixels import center_crop, read_image, to_float, to_uint8_tensor
from openflextok.quantizers.continuous import Continuous
from openflextok.quantizers.grouped import INNER, Grouped
from openflextok.spaces.autoencoder_kl import AutoencoderKL
from openflextok.spaces.pixels import Pixels
from openflextok.types import Draws, Losses, Tokens, check_lengths, check_seeds, stack_ids

Picture = Image.Image | str | Path | bytes
Pictures = Sequence[Picture | np.ndarray] | Picture | Tensor | np.ndarray

PARTS: dict[type, type] = {
    cfg.PixelsConfig: Pixels,
    cfg.AutoencoderKLConfig: AutoencoderKL,
    cfg.RegisterViTConfig: RegisterViT,
    cfg.GridViTConfig: GridViT,
    **INNER,
    cfg.GroupedConfig: Grouped,
    cfg.ContinuousConfig: Continuous,
    cfg.FullConfig: Full,
    cfg.UniformChoiceConfig: UniformChoice,
    cfg.FlowDecoderConfig: FlowDecoder,
    cfg.PixelDecoderConfig: PixelDecoder,
}


def build_part(config: Any) -> Any:
    """A part's config -> the part, with fresh weights."""
    return PARTS[type(config)](config)


TRAINING_ONLY = {  # entries that ids do not depend on
    "saturation_weight", "commitment_weight", "entropy_weight", "inverse_temperature", "decay", "restart_after",
}  # fmt: skip


def weights_digest(module: nn.Module, without: tuple[str, ...] = ()) -> str:
    """SHA-256 over the names and float32 values of a module's weights."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        if name.startswith(without):
            continue
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


class Tokenizer(nn.Module):
    """LatentSpace + Encoder + Quantizer + LengthPolicy + Decoder.

    images -> space -> encoder -> quantizer -> ids (B, N) -> lookup -> decoder -> space -> images
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.space: LatentSpace = build_part(config.space).requires_grad_(False).eval()
        self.encoder: Encoder = build_part(config.encoder)
        self.quantizer: Quantizer = build_part(config.quantizer)
        self.lengths: LengthPolicy = build_part(config.lengths)
        self.decoder: Decoder = build_part(config.decoder)

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def num_tokens(self) -> int:
        return self.decoder.num_tokens

    @property
    def bits_per_token(self) -> float:
        return self.quantizer.bits_per_token

    @property
    def image_size(self) -> tuple[int, int]:
        """Native height and width in pixels."""
        return self.config.image_size

    @property
    def device(self) -> torch.device:
        return next(self.encoder.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.encoder.parameters()).dtype

    def bytes_per_image(self, length: int) -> int | None:
        """Bytes that `length` tokens of one image need, packed as one number; exact. None for continuous tokens."""
        if not self.quantizer.codebook_size:
            return None
        return -(-(self.quantizer.codebook_size**length - 1).bit_length() // 8)

    def fingerprint(self) -> str:
        """Sixteen hex digits that change with any weight or setting that ids depend on."""
        digest = hashlib.sha256()
        for part in (self.config.space, self.config.encoder, self.config.quantizer):
            settings = {name: value for name, value in cfg.changed_entries(part).items() if name not in TRAINING_ONLY}
            digest.update(json.dumps(settings, sort_keys=True).encode())
        digest.update(weights_digest(self.space, without=self.space.way_back).encode())
        for module in (self.encoder, self.quantizer):
            digest.update(weights_digest(module).encode())
        return digest.hexdigest()[:16]

    def compile_blocks(self) -> Self:
        """Compile the transformer blocks (needs a C++ compiler): same results within rounding, faster in bf16."""
        compile_blocks(self)
        return self

    # -- training -----------------------------------------------------------------------------------------------

    def losses(self, images_BCHW: Tensor, draws: Draws) -> tuple[Losses, Tokens]:
        """Training losses for images in [-1, 1], all randomness from `draws`; and the tokens they were made from."""
        with torch.no_grad():
            latents_BChw = self.space.encode(images_BCHW)
        return self.losses_from_latents(latents_BChw.float(), draws)

    def losses_from_latents(self, latents_BChw: Tensor, draws: Draws) -> tuple[Losses, Tokens]:
        slots = self.encoder(latents_BChw)
        quantized = self.quantizer(slots.values_BND)
        tokens = Tokens(quantized.values_BND, quantized.ids_BN, self.lengths(slots, draws))
        return quantized.losses + self.decoder.losses(tokens, latents_BChw, draws), tokens

    # -- the public face ----------------------------------------------------------------------------------------

    @torch.no_grad()  # not inference mode: models may learn from what comes out
    def encode(self, images: Pictures, *, posterior: str | Tensor = "mean") -> Tokens:
        """Images -> all N tokens of each; deterministic.

        images: PIL images, paths, bytes of files or uint8 arrays (H, W, 3), cropped to the native size, EXIF orientation
        honoured; or a tensor or array: uint8 (B, H, W, 3), or floats (B, 3, H, W) in [-1, 1]. posterior: "mean", or standard normal noise (B, C, h, w) to sample the latents with.
        Errors: ValueError for wrong shapes, values outside [-1, 1], sizes that the patches do not divide, or an encoder
        that gives NaN.
        """
        images_BCHW = self.to_images(images)
        latents_BChw = self.space.encode(images_BCHW, posterior).to(self.dtype)
        slots_BND = self.encoder(latents_BChw).values_BND
        quantized = self.quantizer(slots_BND)
        bad = slots_BND.isnan().flatten(1).any(1).tolist()  # waits for the device, too
        if any(bad):
            raise ValueError(f"the encoder gave NaN for image {bad.index(True)} of {len(bad)}: check its weights")
        keep_BN = torch.ones(quantized.values_BND.shape[:2], dtype=torch.bool, device=self.device)
        return Tokens(quantized.values_BND, quantized.ids_BN, keep_BN)

    @torch.no_grad()
    def decode(
        self,
        tokens: Tokens | Tensor | np.ndarray | Sequence[Sequence[int]],
        *,
        lengths: int | Sequence[int] | Tensor | None = None,
        seed: int | Sequence[int] = 0,
        noise: Tensor | None = None,
        image_size: tuple[int, int] | None = None,
        **options: Any,
    ) -> Tensor:
        """Tokens, or ids (B, n) with 1 <= n <= N, -> images (B, 3, H, W) in [-1, 1], float32.

        Ids in lists may be of different lengths.

        lengths: tokens kept per image; seed: one for all images, or one each: an image depends on its own seed alone;
        noise: the start itself, (B, C, h, w); image_size: (H, W), by default that of the noise or the native one;
        options: the decoder's own (steps, guidance, solver, absence).
        Errors: ValueError for ids outside the codebook, lengths outside 1..N, noise of another shape.
        """
        if not isinstance(tokens, Tokens):
            tokens = self._lookup(tokens)
        tokens = self._to_device(tokens if lengths is None else tokens.truncate(lengths))
        size = image_size or (self.image_size if noise is None else self._size_of(noise))
        noise_BChw = self._start(len(tokens), seed, noise, size)
        latents_BChw = self.decoder.decode(tokens, noise_BCHW=noise_BChw, **options)
        return self.space.decode(latents_BChw).float().clamp(-1, 1)

    # -- borders ------------------------------------------------------------------------------------------------

    def to_images(self, images: Pictures) -> Tensor:
        """What `encode` takes -> the images that it sees: (B, 3, H, W) float32 in [-1, 1], on our device."""
        if isinstance(images, Picture):
            images = [images]
        if isinstance(images, np.ndarray):
            images = torch.tensor(np.ascontiguousarray(images))  # mirrored arrays have negative strides
        if not isinstance(images, Tensor):
            if not len(images):
                raise ValueError("no images given: encode needs at least one")
            images = torch.stack([to_uint8_tensor(center_crop(read_image(image), self.image_size)) for image in images])
        if images.dtype == torch.uint8:
            if images.ndim != 4 or images.shape[-1] != 3:
                raise ValueError(f"uint8 images have shape {tuple(images.shape)}: give (B, H, W, 3)")
            images = to_float(images.to(self.device))
        if not images.is_floating_point() or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"images are {images.dtype} of shape {tuple(images.shape)}: give PIL images, uint8 (B, H, W, 3), "
                "or floats (B, 3, H, W) in [-1, 1]"
            )
        if not len(images):
            raise ValueError("no images given: encode needs at least one")
        self._check_size(cast(tuple[int, int], tuple(images.shape[-2:])))
        images = images.to(self.device, torch.float32)
        low, high = images.amin().item(), images.amax().item()
        if not (low >= -1.001 and high <= 1.001):  # also false for NaN
            raise ValueError(f"float images span {low:.3g}..{high:.3g}: give finite values in [-1, 1]")
        return images

    def _check_size(self, size: tuple[int, int]) -> None:
        """Refuse image sizes that downsampling, patching or the position table cannot take; names those that fit."""
        patching = self.config.encoder
        patch, unit = self.space.downsample * patching.patch_size, self.space.downsample * patching.unit
        least, most = ((grid[0] * patch, grid[1] * patch) for grid in (patching.least_grid, patching.grid))
        fits = patching.interpolate_positions or (size[0] <= most[0] and size[1] <= most[1])
        if len(size) != 2 or size[0] % unit or size[1] % unit or size[0] < least[0] or size[1] < least[1] or not fits:
            upto = "" if patching.interpolate_positions else f" up to {most[0]}x{most[1]}"
            allowed = f"must be {most[0]}x{most[1]}" if least == most else f"must be multiples of {unit}{upto}"
            raise ValueError(f"cannot take {'x'.join(map(str, size))} images: height and width {allowed}")

    def _lookup(self, ids: Tensor | np.ndarray | Sequence[Sequence[int]]) -> Tokens:
        if isinstance(ids, (Tensor, np.ndarray)):
            ids_BN = torch.as_tensor(np.ascontiguousarray(ids) if isinstance(ids, np.ndarray) else ids)
            keep_BN = torch.ones(ids_BN.shape, dtype=torch.bool)
        else:
            ids_BN, keep_BN = stack_ids(ids)
        if ids_BN.ndim != 2 or ids_BN.is_floating_point() or ids_BN.dtype == torch.bool or not len(ids_BN):
            raise ValueError(f"ids are {ids_BN.dtype} of shape {tuple(ids_BN.shape)}: give int64 (B, n)")
        if not self.quantizer.codebook_size:
            raise ValueError(
                "the tokens of this tokenizer are continuous and have no ids: give the `Tokens` of `encode`"
            )
        check_lengths(keep_BN.sum(1), len(ids_BN), self.num_tokens)
        ids_BN = ids_BN.to(self.device, torch.int64)
        low, high = ids_BN.amin().item(), ids_BN.amax().item()
        if low < 0 or high >= self.quantizer.codebook_size:
            bad = low if low < 0 else high
            raise ValueError(f"id {bad} is not a token of this tokenizer (0 <= id < {self.quantizer.codebook_size})")
        return Tokens(self.quantizer.lookup(ids_BN), ids_BN, keep_BN.to(self.device))

    def _to_device(self, tokens: Tokens) -> Tokens:
        check_lengths(tokens.keep_BN.shape[1], len(tokens), self.num_tokens)
        ids_BN = None if tokens.ids_BN is None else tokens.ids_BN.to(self.device)
        return Tokens(tokens.values_BND.to(self.device), ids_BN, tokens.keep_BN.to(self.device))

    def _size_of(self, latents_BChw: Tensor) -> tuple[int, int]:
        """Height and width in pixels of images that have these latents."""
        if latents_BChw.ndim != 4:
            raise ValueError(f"noise has shape {tuple(latents_BChw.shape)}: give (B, C, h, w)")
        h, w = latents_BChw.shape[-2:]
        return h * self.space.downsample, w * self.space.downsample

    def _start(self, batch: int, seed: int | Sequence[int], noise: Tensor | None, size: tuple[int, int]) -> Tensor:
        """Starting noise (B, C, h, w), float32: given, or from one stream per image."""
        self._check_size(size)
        shape = (self.space.channels, size[0] // self.space.downsample, size[1] // self.space.downsample)
        if noise is not None:
            if tuple(noise.shape) != (batch, *shape):
                raise ValueError(f"noise has shape {tuple(noise.shape)}: give {(batch, *shape)}")
            return noise.to(self.device, torch.float32)
        return Draws(check_seeds(seed, batch), self.device).normal(*shape)
