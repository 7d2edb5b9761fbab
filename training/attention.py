# SPDX-License-Identifier: Apache-2.0
"""Attention of the next-scale models in training: full within a scale, causal over scales."""

import math

import torch
import torch.nn.functional as F

MAX_LOG_SCALE = math.log(100)
# Leading scales of together at most so many tokens share one masked product: few launches for small work.
MASKED_TOKENS = 256


def scale_mask(sizes, device):
    """[T, T], true where a token may attend: the same scale and earlier ones."""
    scale = torch.cat([torch.full((size,), number, device=device) for number, size in enumerate(sizes)])
    return scale[:, None] >= scale[None]


def leading(sizes, length):
    """The first scales, of `length` tokens together."""
    return [size for number, size in enumerate(sizes) if sum(sizes[:number]) < length]


def attend(q, k, v, mask=None, scale=None):
    """scaled_dot_product_attention; `mask` is true where a query may attend. On the CPU, where its gradient is slow, spelled out."""
    if q.device.type != "cpu" or not q.requires_grad:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    scores = (q * (scale or q.shape[-1] ** -0.5)) @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(-1).to(v.dtype) @ v


def attend_by_scale(q, k, v, sizes, scale):
    """q, k, v [rows, heads, T, d]; tokens of scale k see those of scales 0 ... k. Exact, without a T x T mask."""
    masked = 1
    while masked < len(sizes) and sum(sizes[: masked + 1]) <= MASKED_TOKENS:
        masked += 1
    end = sum(sizes[:masked])
    mask = scale_mask(sizes[:masked], q.device)
    parts = [attend(q[:, :, :end], k[:, :, :end], v[:, :, :end], mask, scale)]
    for size in sizes[masked:]:
        seen = end + size
        parts.append(attend(q[:, :, end:seen], k[:, :, :seen], v[:, :, :seen], scale=scale))
        end = seen
    return torch.cat(parts, 2)
