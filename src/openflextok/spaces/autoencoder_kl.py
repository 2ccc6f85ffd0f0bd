"""A KL autoencoder with the structure, configuration and weight names of diffusers' `AutoencoderKL`.

Written here in plain torch so that loading a tokenizer needs no further library; tests hold it equal to diffusers.
Shape suffixes: B batch, C channels, H x W pixels or latents.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openflextok.config import AutoencoderKLConfig
from openflextok.interfaces import LatentSpace
from openflextok.nets.winograd import Conv3x3


def activate(x_BCHW: Tensor) -> Tensor:
    """SiLU, in place where no gradient needs what was there."""
    return F.silu(x_BCHW, inplace=not torch.is_grad_enabled())


class ResnetBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), with a 1x1 shortcut where the width changes."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=1e-6)
        self.conv1 = Conv3x3(inputs, outputs)
        self.norm2 = nn.GroupNorm(groups, outputs, eps=1e-6)
        self.conv2 = Conv3x3(outputs, outputs)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        h_BCHW = self.conv1(activate(self.norm1(x_BCHW)))
        h_BCHW = self.conv2(activate(self.norm2(h_BCHW)))
        h_BCHW += self.conv_shortcut(x_BCHW)
        return h_BCHW


class SpatialAttention(nn.Module):
    """Single-head self-attention over all positions."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        h = self.group_norm(x_BCHW).flatten(2).transpose(1, 2)
        q, k, v = (projection(h)[:, None] for projection in (self.to_q, self.to_k, self.to_v))
        h = self.to_out(F.scaled_dot_product_attention(q, k, v)[:, 0])
        return x_BCHW + h.transpose(1, 2).reshape(x_BCHW.shape)


class Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.conv(F.pad(x_BCHW, (0, 1, 0, 1)))


class Upsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv3x3(channels, channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.conv(F.interpolate(x_BCHW, scale_factor=2.0, mode="nearest"))


class DownBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, layers: int, groups: int, last: bool) -> None:
        super().__init__()
        self.resnets = nn.Sequential(
            *(ResnetBlock(inputs if i == 0 else outputs, outputs, groups) for i in range(layers))
        )
        self.downsamplers = nn.Sequential() if last else nn.Sequential(Downsample(outputs))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.downsamplers(self.resnets(x_BCHW))


class UpBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, layers: int, groups: int, last: bool) -> None:
        super().__init__()
        self.resnets = nn.Sequential(
            *(ResnetBlock(inputs if i == 0 else outputs, outputs, groups) for i in range(layers))
        )
        self.upsamplers = nn.Sequential() if last else nn.Sequential(Upsample(outputs))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.upsamplers(self.resnets(x_BCHW))


class MidBlock(nn.Module):
    def __init__(self, channels: int, groups: int, attention: bool) -> None:
        super().__init__()
        self.resnets = nn.Sequential(*(ResnetBlock(channels, channels, groups) for _ in range(2)))
        self.attentions = nn.Sequential(SpatialAttention(channels, groups)) if attention else nn.Sequential()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.resnets[1](self.attentions(self.resnets[0](x_BCHW)))


class ConvEncoder(nn.Module):
    """Images -> 2 x latent channels (mean and log-variance)."""

    def __init__(self, c: AutoencoderKLConfig) -> None:
        super().__init__()
        widths, groups = c.block_out_channels, c.norm_num_groups
        self.conv_in = Conv3x3(3, widths[0])
        pairs = list(zip((widths[0], *widths[:-1]), widths, strict=True))
        self.down_blocks = nn.Sequential(
            *(DownBlock(a, b, c.layers_per_block, groups, i == len(pairs) - 1) for i, (a, b) in enumerate(pairs))
        )
        self.mid_block = MidBlock(widths[-1], groups, c.mid_block_add_attention)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=1e-6)
        self.conv_out = Conv3x3(widths[-1], 2 * c.latent_channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        h = self.mid_block(self.down_blocks(self.conv_in(x_BCHW)))
        return self.conv_out(activate(self.conv_norm_out(h)))


class ConvDecoder(nn.Module):
    """Latents -> images."""

    def __init__(self, c: AutoencoderKLConfig) -> None:
        super().__init__()
        widths, groups = c.block_out_channels[::-1], c.norm_num_groups
        self.conv_in = Conv3x3(c.latent_channels, widths[0])
        self.mid_block = MidBlock(widths[0], groups, c.mid_block_add_attention)
        pairs = list(zip((widths[0], *widths[:-1]), widths, strict=True))
        self.up_blocks = nn.Sequential(
            *(UpBlock(a, b, c.layers_per_block + 1, groups, i == len(pairs) - 1) for i, (a, b) in enumerate(pairs))
        )
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=1e-6)
        self.conv_out = Conv3x3(widths[-1], 3)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        h = self.up_blocks(self.mid_block(self.conv_in(x_BCHW)))
        return self.conv_out(activate(self.conv_norm_out(h)))


@dataclass(frozen=True)
class Posterior:
    """A diagonal Gaussian over unscaled latents."""

    mean_BCHW: Tensor
    logvar_BCHW: Tensor

    @property
    def std_BCHW(self) -> Tensor:
        return torch.exp(0.5 * self.logvar_BCHW)

    def kl(self) -> Tensor:
        """KL divergence to the standard normal, nats per latent value (scalar), float32."""
        mean_BCHW, logvar_BCHW = self.mean_BCHW.float(), self.logvar_BCHW.float()
        return 0.5 * (mean_BCHW.square() + logvar_BCHW.exp() - 1 - logvar_BCHW).mean()


class AutoencoderKL(LatentSpace):
    """images (B, 3, H, W) in [-1, 1] -> latents (B, C, H/f, W/f), and back; f = 2 ** (number of widths - 1)."""

    way_back = ("decoder.", "post_quant_conv.")

    def __init__(self, config: AutoencoderKLConfig) -> None:
        super().__init__()
        c = self.config = config
        self.channels = c.latent_channels
        self.downsample = 2 ** (len(c.block_out_channels) - 1)
        self.encoder = ConvEncoder(c)
        self.decoder = ConvDecoder(c)
        twice = 2 * c.latent_channels
        self.quant_conv = nn.Conv2d(twice, twice, 1) if c.use_quant_conv else nn.Identity()
        self.post_quant_conv = (
            nn.Conv2d(c.latent_channels, c.latent_channels, 1) if c.use_post_quant_conv else nn.Identity()
        )

    def posterior(self, images_BCHW: Tensor) -> Posterior:
        mean, logvar = self.quant_conv(self.encoder(images_BCHW)).chunk(2, dim=1)
        return Posterior(mean, logvar.clamp(-30.0, 20.0))

    def encode(self, images_BCHW: Tensor, posterior: str | Tensor = "mean") -> Tensor:
        """`posterior`: "mean", or a standard normal tensor of the latents' shape to sample with."""
        images_BCHW = images_BCHW.to(self.dtype).contiguous(memory_format=torch.channels_last)
        gaussian = self.posterior(images_BCHW)
        latents = gaussian.mean_BCHW
        if isinstance(posterior, Tensor):
            if posterior.shape != latents.shape:
                raise ValueError(f"posterior noise is {tuple(posterior.shape)}, the latents are {tuple(latents.shape)}")
            latents = latents + gaussian.std_BCHW * posterior.to(latents)
        elif posterior != "mean":
            raise ValueError(f"unknown posterior {posterior!r}: give 'mean' or a noise tensor of the latents' shape")
        return (latents - self.config.shift_factor) * self.config.scaling_factor

    def decode(self, latents_BCHW: Tensor) -> Tensor:
        latents_BCHW = latents_BCHW.to(self.dtype) / self.config.scaling_factor + self.config.shift_factor
        return self.reconstruct(latents_BCHW.contiguous(memory_format=torch.channels_last))

    def reconstruct(self, unscaled_BCHW: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(unscaled_BCHW))

    @property
    def dtype(self) -> torch.dtype:
        return self.decoder.conv_out.weight.dtype
