# SPDX-License-Identifier: Apache-2.0
"""The text-to-image Infinity transformer, with the official tensor names.

R rows: the prompts, and with guidance as many again without; C width; T tokens of all scales; b bits per token.
Text comes padded, [R, L, text_channels] with a mask; the engine packs it, which gives the same.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from attention import MAX_LOG_SCALE, attend, attend_by_scale, leading
from var import FeedForward, HeadNorm, modulate

EPSILON = 1e-6
MAX_SCALES = 15  # rows of lvl_embed
POOL_HEAD = 128
WIDE = 4096  # wider models pool with heads half as large
ROPE_BASE = 10000.0


def ffn_hidden(width):
    return 256 * round(4 * width / 256)  # Python rounds halves to even, as wanted


def rope_tables(grids, reference, head_dim):
    """cos and sin [T, head_dim / 2]: rows in the first half of the pairs, columns in the second."""
    quarter = head_dim // 4
    frequencies = ROPE_BASE ** (-2 * torch.arange(quarter, dtype=torch.float32) / (head_dim // 2))
    angles = []
    for h, w in grids:
        rows = torch.round(torch.arange(h, dtype=torch.float32) * torch.tensor(reference[0] / h, dtype=torch.float32))
        columns = torch.round(torch.arange(w, dtype=torch.float32) * torch.tensor(reference[1] / w, dtype=torch.float32))
        by_row = (rows[:, None] * frequencies)[:, None].expand(h, w, quarter)
        by_column = (columns[:, None] * frequencies)[None].expand(h, w, quarter)
        angles.append(torch.cat((by_row, by_column), -1).reshape(h * w, -1))
    angles = torch.cat(angles)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    """Turns pairs of adjacent channels; x [R, H, n, c]."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


class SelfAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.scale_mul_1H11 = nn.Parameter(torch.full((1, heads, 1, 1), math.log(4.0)))
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("zero_k_bias", torch.zeros(width))
        self.mat_qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x, rope, sizes, past=None):
        rows, length, width = x.shape
        bias = torch.cat((self.q_bias, self.zero_k_bias, self.v_bias))
        qkv = F.linear(x, self.mat_qkv.weight, bias).view(rows, length, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scale = self.scale_mul_1H11.float().clamp(max=MAX_LOG_SCALE).exp()
        q = rotate(F.normalize(q.float(), dim=-1, eps=1e-12) * scale, *rope).to(v.dtype)
        k = rotate(F.normalize(k.float(), dim=-1, eps=1e-12), *rope).to(v.dtype)
        if past is None:
            out = attend_by_scale(q, k, v, sizes, scale=1.0)
        else:
            past.append((k, v))
            keys, values = (torch.cat(parts, 2) for parts in zip(*past, strict=True))
            out = F.scaled_dot_product_attention(q, keys, values, scale=1.0)
        return self.proj(out.transpose(1, 2).reshape(rows, length, width))


class CrossAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.mat_q = nn.Linear(width, width)
        self.mat_kv = nn.Linear(width, 2 * width, bias=False)
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("zero_k_bias", torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x, text, mask):
        rows, length, width = x.shape
        q = self.mat_q(x).view(rows, length, self.heads, -1).transpose(1, 2)
        kv = F.linear(text, self.mat_kv.weight, torch.cat((self.zero_k_bias, self.v_bias)))
        k, v = kv.view(rows, text.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        out = attend(q, k, v, mask[:, None, None])
        return self.proj(out.transpose(1, 2).reshape(rows, length, width))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ada_gss = nn.Parameter(torch.zeros(1, 1, 6, width))
        self.sa, self.ca = SelfAttention(width, heads), CrossAttention(width, heads)
        self.ca_norm = nn.LayerNorm(width, eps=EPSILON)
        self.ffn = FeedForward(width, ffn_hidden(width))

    def forward(self, x, condition, text, mask, rope, sizes, past=None):
        gamma1, gamma2, scale1, scale2, shift1, shift2 = (condition + self.ada_gss).unbind(2)
        x = x + gamma1 * self.sa(modulate(x, scale1, shift1), rope, sizes, past)
        x = x + self.ca(self.ca_norm(x), text, mask)
        return x + gamma2 * self.ffn(modulate(x, scale2, shift2))


class Chunk(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.module = nn.ModuleList(blocks)


class TextPooling(nn.Module):
    """One learned query per head over the text."""

    def __init__(self, text_channels, width):
        super().__init__()
        heads = text_channels // (POOL_HEAD if width <= WIDE else POOL_HEAD // 2)
        self.mat_q = nn.Parameter(torch.randn(1, heads, width // heads) * (width // heads) ** -0.5)
        self.mat_kv = nn.Linear(text_channels, 2 * width, bias=False)
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("zero_k_bias", torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, text, mask):
        rows, length, _ = text.shape
        heads = self.mat_q.shape[1]
        kv = F.linear(text, self.mat_kv.weight, torch.cat((self.zero_k_bias, self.v_bias)))
        k, v = kv.view(rows, length, 2, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        q = self.mat_q.to(k.dtype).transpose(0, 1)[None].expand(rows, -1, -1, -1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        return self.proj(out.flatten(1))


class TextToStart(nn.Module):
    def __init__(self, text_channels, width):
        super().__init__()
        self.ca = TextPooling(text_channels, width)


class TextNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x):
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON) * self.weight


class TextConditions(nn.Module):
    """How the transformer takes in text: what it reads of the text encoder's features."""

    def __init__(self, text_channels, width, text_maxlen):
        super().__init__()
        self.cfg_uncond = nn.Parameter(torch.randn(text_maxlen, text_channels) * text_channels**-0.5)
        self.text_norm = TextNorm(text_channels)
        self.text_proj_for_sos = TextToStart(text_channels, width)
        self.text_proj_for_ca = nn.Sequential(nn.Linear(text_channels, width), nn.GELU(approximate="tanh"), nn.Linear(width, width))

    def unconditional(self, text):
        """What stands for text [R, L, text_channels] where there is none."""
        return self.cfg_uncond[None, : text.shape[1]].expand_as(text).to(text.dtype)

    def start_and_source(self, text, mask):
        """Of padded text features: start vector [R, C], cross-attention source [R, L, C]."""
        text = self.text_norm(text)
        return self.text_proj_for_sos.ca(text, mask).float(), self.text_proj_for_ca(text)


class Infinity(TextConditions):
    def __init__(self, depth, embed_dim, num_heads, block_chunks, text_channels, text_maxlen, token_bits, grids,
                 rope_ref_hw=(64, 64), text_drop=0.1, **_):  # fmt: skip
        super().__init__(text_channels, embed_dim, text_maxlen)
        self.grids = [tuple(grid) for grid in grids]
        self.sizes = [h * w for h, w in self.grids]
        self.token_bits, self.text_drop = token_bits, text_drop
        self.pos_start = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.lvl_embed = nn.Embedding(MAX_SCALES, embed_dim)
        self.word_embed = nn.Linear(token_bits, embed_dim)
        self.shared_ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(embed_dim, 6 * embed_dim))
        per = depth // block_chunks
        self.block_chunks = nn.ModuleList([Chunk([Block(embed_dim, num_heads) for _ in range(per)]) for _ in range(block_chunks)])
        self.head_nm = HeadNorm(embed_dim)
        self.head = nn.Linear(embed_dim, 2 * token_bits)
        cos, sin = rope_tables(self.grids, rope_ref_hw, embed_dim // num_heads)
        self.register_buffer("rope_cos", cos, persistent=False)
        self.register_buffer("rope_sin", sin, persistent=False)

    @property
    def blocks(self):
        return [block for chunk in self.block_chunks for block in chunk.module]

    def init_weights(self):
        width, depth = self.pos_start.shape[-1], len(self.blocks)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=math.sqrt(1 / (3 * max(module.in_features, 64))))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.word_embed.weight, std=1.0)  # codes are small
        nn.init.normal_(self.lvl_embed.weight, std=math.sqrt(1 / (3 * width)))
        nn.init.normal_(self.pos_start, std=math.sqrt(1 / (3 * width)))
        nn.init.normal_(self.shared_ada_lin[1].weight, std=0.02 * math.sqrt(1 / width))
        with torch.no_grad():
            self.shared_ada_lin[1].bias.view(6, width)[:2] = 1.0  # gamma1, gamma2
            for block in self.blocks:
                for out in (block.sa.proj, block.ca.proj, block.ffn.fc2):
                    out.weight.mul_(1 / math.sqrt(3 * depth))
        nn.init.zeros_(self.head_nm.ada_lin[1].weight)

    def condition(self, text, mask):
        """Of padded text features: start vector [R, C], cross-attention source [R, L, C], modulation [R, 1, 6, C]."""
        start, source = self.start_and_source(text, mask)
        return start, source, self.shared_ada_lin(start).view(len(start), 1, 6, -1)

    def forward(self, text, mask, inputs, reading=None, generator=None):
        """Scores [B, T, b, 2] of every scale at once; `inputs` [B, T - n_0, b] from BitwiseQuantizer.encode.

        Inputs of the first scales only give their scores only, those of a `reading` (windows.py) the scores of its tokens."""
        length = inputs.shape[1] + self.sizes[0]
        sizes = reading.sizes if reading else leading(self.sizes, length)
        if self.training and self.text_drop:
            dropped = torch.rand(len(text), 1, 1, device=text.device, generator=generator) < self.text_drop
            text = torch.where(dropped, self.unconditional(text), text)
        start, source, modulation = self.condition(text, mask)
        first = start[:, None] + self.pos_start
        x = torch.cat((first, self.word_embed(inputs).to(first.dtype)), 1)
        levels = [self.lvl_embed.weight[scale].expand(size, -1) for scale, size in enumerate(sizes)]
        x = x + torch.cat(levels)
        rope = (self.rope_cos[:length], self.rope_sin[:length])
        if reading:
            rope = (self.rope_cos[reading.index][:, None], self.rope_sin[reading.index][:, None])
        for block in self.blocks:
            x = block(x, modulation, source, mask, rope, sizes)
        return self.head(self.head_nm(x, start)).float().unflatten(-1, (-1, 2))

    @torch.no_grad()
    def generate(self, quantizer, text, mask, cfg=3.0, tau=1.0, top_p=0.97, greedy=False, generator=None, trace=None,
                 negative=None):  # fmt: skip
        """The final latent [B, d, H, W]. `cfg` and `tau`: one number, or one per scale. `negative`: text and mask."""
        batch, steps = len(text), len(self.sizes)
        cfg = list(cfg) if isinstance(cfg, (list, tuple)) else [cfg] * steps
        tau = list(tau) if isinstance(tau, (list, tuple)) else [tau] * steps
        guided = any(weight != 1 for weight in cfg[:steps])
        if guided:
            other, other_mask = negative or (self.unconditional(text), mask)
            longest = max(text.shape[1], other.shape[1])
            text, other = (F.pad(part, (0, 0, 0, longest - part.shape[1])) for part in (text, other.to(text.dtype)))
            mask, other_mask = (F.pad(part, (0, longest - part.shape[1])) for part in (mask, other_mask))
            text, mask = torch.cat((text, other)), torch.cat((mask, other_mask))
        start, source, modulation = self.condition(text, mask)
        x, total, seen = start[:, None] + self.pos_start, 0, 0
        past = [[] for _ in self.blocks]
        for scale in range(steps):
            ahead = seen + self.sizes[scale]
            rope = (self.rope_cos[seen:ahead], self.rope_sin[seen:ahead])
            x, seen = x + self.lvl_embed.weight[scale], ahead
            for block, cache in zip(self.blocks, past, strict=True):
                x = block(x, modulation, source, mask, rope, self.sizes, cache)
            scores = self.head(self.head_nm(x, start)).float().unflatten(-1, (-1, 2)) / tau[scale]
            mixed = scores[:batch]
            if cfg[scale] != 1:
                mixed = cfg[scale] * mixed + (1 - cfg[scale]) * scores[batch:]
            bits = sample_bits(mixed, top_p, greedy, generator)
            total = total + quantizer.resize(quantizer.codes(bits, scale), steps - 1)
            if trace is not None:
                trace |= {f"logits.{scale}": mixed, f"bits.{scale}": bits, f"codes_summed.{scale}": total}
            if scale + 1 < steps:
                inputs = quantizer.to_tokens(quantizer.resize(total, scale + 1))
                x = self.word_embed(inputs).repeat(len(text) // batch, 1, 1)
        return total


def sample_bits(scores, top_p, greedy, generator=None):
    """Bits [B, n, b]; the less likely value goes where it is at most 1 - top_p likely."""
    margin = scores[..., 1] - scores[..., 0]
    if greedy:
        return margin > 0
    likely = torch.sigmoid(margin)
    likely = torch.where(likely <= 1 - top_p, 0.0, torch.where(1 - likely <= 1 - top_p, 1.0, likely))
    return torch.rand(likely.shape, device=likely.device, generator=generator) < likely
