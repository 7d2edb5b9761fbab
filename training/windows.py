# SPDX-License-Identifier: Apache-2.0
"""Training on parts of pictures: the first scales whole, of the later ones, which have most of the tokens, a square each.

What a picture shows is decided at the first scales; what it looks like there follows, at the later ones, from the neighbourhood.
"""

import math
from dataclasses import dataclass

import torch


@dataclass
class Reading:
    """Tokens that a step reads: `index` [B, T'] counts among those of all scales, `sizes` of every scale read sum to T'."""

    index: torch.Tensor
    sizes: list[int]

    def of(self, tokens):
        """Rows [B, T', ...] of tokens [B, T, ...]."""
        return torch.take_along_dim(tokens, self.index.view(*self.index.shape, *[1] * (tokens.ndim - 2)), 1)

    def after_first(self, inputs):
        """Likewise of inputs [B, T - 1, ...], which the first scale, one token, has none of."""
        return torch.take_along_dim(inputs, (self.index[:, 1:] - 1)[..., None], 1)


def read_windows(grids, whole, share, centres):
    """The first `whole` of scales `grids` [(h, w)], then of each a square of `share` of its side about `centres` [B, 2] (x, y in
    [0, 1]), as near as it fits."""
    parts, sizes, begin = [], [], 0
    for number, (h, w) in enumerate(grids):
        if number < whole:
            parts.append(torch.arange(h * w, device=centres.device).expand(len(centres), -1) + begin)
        else:
            columns, rows = (_span(side, share, centres[:, axis]) for axis, side in enumerate((w, h)))
            parts.append((begin + rows[:, :, None] * w + columns[:, None]).flatten(1))
        sizes.append(parts[-1].shape[1])
        begin += h * w
    return Reading(torch.cat(parts, 1), sizes)


def _span(side, share, centre):
    """[B, n] consecutive places of a side."""
    length = math.ceil(side * share)
    first = (centre * side - length / 2).round().long().clamp(0, side - length)
    return first[:, None] + torch.arange(length, device=centre.device)
