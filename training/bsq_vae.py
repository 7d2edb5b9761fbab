# SPDX-License-Identifier: Apache-2.0
"""The VAE of the Infinity family and its bitwise multi-scale quantizer, with the official tensor names.

Latents are [B, d, H, W]; codes are +-1/sqrt(d); bits of a scale [B, n_k, b] in token layout (b = d, or 4 d with patchify).
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

import vqvae

COMMITMENT = 0.25
BALANCE = 0.05  # weight of every bit being up half of the time


class WrappedConv(nn.Module):
    """A convolution one level deeper in the names, as the published files have it."""

    def __init__(self, inside, outside, side=3, stride=1, padding=None):
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, side, stride, side // 2 if padding is None else padding)

    def forward(self, x):
        return self.conv(x)


class WrappedNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        groups = 32 if channels % 32 == 0 else 24
        self.norm = vqvae.GroupNorm(groups, channels, eps=vqvae.EPSILON)

    def forward(self, x):
        return self.norm(x)


class ResBlock(nn.Module):
    def __init__(self, inside, outside):
        super().__init__()
        self.norm1, self.conv1 = WrappedNorm(inside), WrappedConv(inside, outside)
        self.norm2, self.conv2 = WrappedNorm(outside), WrappedConv(outside, outside)
        if inside != outside:
            self.nin_shortcut = WrappedConv(inside, outside, side=1)
        nn.init.normal_(self.conv2.conv.weight, std=1e-3)

    def forward(self, x):
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + y


class Downsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = WrappedConv(channels, channels, stride=2, padding=0)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = WrappedConv(channels, channels)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    def __init__(self, inside, outside, blocks):
        super().__init__()
        self.block = nn.ModuleList([ResBlock(inside if number == 0 else outside, outside) for number in range(blocks)])

    def forward(self, x):
        for block in self.block:
            x = block(x)
        return x


class Middle(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.block_1, self.block_2 = ResBlock(channels, channels), ResBlock(channels, channels)

    def forward(self, x):
        return self.block_2(self.block_1(x))


class Encoder(nn.Module):
    def __init__(self, ch, ch_mult, blocks, d):
        super().__init__()
        widths = [ch * factor for factor in ch_mult]
        self.conv_in = WrappedConv(3, ch)
        self.down = nn.ModuleList()
        for level, width in enumerate(widths):
            stage = Level(widths[level - 1] if level else ch, width, blocks)
            if level + 1 < len(widths):
                stage.downsample = Downsample(width)
            self.down.append(stage)
        self.mid = Middle(widths[-1])
        self.norm_out, self.conv_out = WrappedNorm(widths[-1]), WrappedConv(widths[-1], d)

    def forward(self, x):
        x = self.conv_in(x)
        for stage in self.down:
            x = stage(x)
            if hasattr(stage, "downsample"):
                x = stage.downsample(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    def __init__(self, ch, ch_mult, blocks, d):
        super().__init__()
        widths = [ch * factor for factor in ch_mult]
        self.conv_in = WrappedConv(d, widths[-1])
        self.mid = Middle(widths[-1])
        self.up = nn.ModuleList()
        for level, width in enumerate(widths):
            stage = Level(widths[min(level + 1, len(widths) - 1)], width, blocks + 1)
            if level > 0:
                stage.upsample = Upsample(width)
            self.up.append(stage)
        self.norm_out, self.conv_out = WrappedNorm(widths[0]), WrappedConv(widths[0], 3)

    def forward(self, x):
        x = self.mid(self.conv_in(x))
        for stage in reversed(self.up):
            x = stage(x)
            if hasattr(stage, "upsample"):
                x = stage.upsample(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class BitwiseQuantizer:
    """Signs of residuals, coarse to fine. `grids`: (h, w) of every scale in tokens. No weights of its own."""

    def __init__(self, d, grids, patchify=False):
        self.d, self.grids, self.patchify = d, [tuple(grid) for grid in grids], patchify
        factor = 2 if patchify else 1
        self.cells = [(h * factor, w * factor) for h, w in self.grids]
        self.magnitude = 1 / math.sqrt(d)

    def resize(self, x, scale):
        size = self.cells[scale]
        return x if tuple(x.shape[-2:]) == size else F.interpolate(x, size=size, mode="bilinear", align_corners=False)

    def to_tokens(self, x):
        """[B, d, h, w] of VAE cells to [B, n, b]."""
        return (F.pixel_unshuffle(x, 2) if self.patchify else x).flatten(2).transpose(1, 2)

    def to_cells(self, x, scale):
        h, w = self.grids[scale]
        x = x.transpose(1, 2).reshape(len(x), -1, h, w)
        return F.pixel_shuffle(x, 2) if self.patchify else x

    def codes(self, bits, scale):
        """Bits in token layout to code values in cell layout."""
        return self.to_cells((2 * bits.float() - 1) * self.magnitude, scale)

    def residual(self, rest, scale):
        size = self.cells[scale]
        return rest if tuple(rest.shape[-2:]) == size else F.interpolate(rest, size=size, mode="area")

    def quantize(self, latent):
        """Training: quantized latent (gradient straight through), loss."""
        latent = latent.float()
        rest, total = latent.detach(), torch.zeros_like(latent)
        last, loss = len(self.cells) - 1, 0.0
        for scale in range(len(self.cells)):
            signs = torch.where(self.residual(rest, scale) > 0, self.magnitude, -self.magnitude)
            added = self.resize(signs, last)
            total, rest = total + added, rest - added
            loss = loss + COMMITMENT * F.mse_loss(latent, total) / self.magnitude**2
            # The mean of every bit over the batch, as a soft sign that has a gradient.
            soft = torch.tanh(self.residual(latent - (total - added), scale) / self.magnitude)
            loss = loss + BALANCE * soft.mean((0, 2, 3)).square().mean()
        return latent + (total - latent).detach(), loss / len(self.cells)

    def requantize(self, latent, disturb):
        """What the codes make of `latent` when `disturb` changes every residual [B, d, h, w] before they do."""
        rest, last = latent, len(self.cells) - 1
        for scale in range(len(self.cells)):
            signs = torch.where(disturb(self.residual(rest, scale)) > 0, self.magnitude, -self.magnitude)
            rest = rest - self.resize(signs, last)
        return latent - rest

    @torch.no_grad()
    def encode(self, latent, flip=0.0, generator=None):
        """Bits to predict [B, T, b] and inputs [B, T - n_0, b] of the transformer.

        `flip`: at every scale each picture has up to this share of its bits turned over in what is fed on, while the bits to
        predict stay those of the residual; the next scales then show how to mend it (bitwise self-correction).
        """
        rest, total = latent.float(), torch.zeros_like(latent, dtype=torch.float32)
        last, labels, inputs = len(self.cells) - 1, [], []
        for scale in range(len(self.cells)):
            bits = self.residual(rest, scale) > 0
            labels.append(self.to_tokens(bits.float()) > 0.5)
            if flip:
                share = flip * torch.rand(len(bits), 1, 1, 1, device=bits.device, generator=generator)
                bits = bits ^ (torch.rand(bits.shape, device=bits.device, generator=generator) < share)
            added = self.resize(torch.where(bits, self.magnitude, -self.magnitude), last)
            total, rest = total + added, rest - added
            if scale < last:
                inputs.append(self.to_tokens(self.resize(total, scale + 1)))
        return torch.cat(labels, 1), torch.cat(inputs, 1)


class Mask(nn.Module):
    """The quantizer's powers of two: unused with bit labels, but in every published file."""

    def __init__(self, d):
        super().__init__()
        self.register_buffer("mask", 2 ** torch.arange(d - 1, -1, -1))


class Named(nn.Module):
    def __init__(self, lfq):
        super().__init__()
        self.lfq = lfq


class BsqVae(nn.Module):
    def __init__(self, codebook_dim, ch, ch_mult, num_res_blocks=2, encoder_ch_mult=None, **_):
        super().__init__()
        self.encoder = Encoder(ch, encoder_ch_mult or ch_mult, num_res_blocks, codebook_dim)
        self.decoder = Decoder(ch, ch_mult, num_res_blocks, codebook_dim)
        mask = Mask(codebook_dim)
        self.quantizer, self.quantize = Named(mask), Named(mask)

    def latent(self, pictures):
        return self.encoder(pictures).float()

    def decode(self, latent):
        return self.decoder(latent)

    def picture(self, latent):
        """In [0, 1]."""
        return (self.decode(latent).float().clamp(-1, 1) + 1) / 2
