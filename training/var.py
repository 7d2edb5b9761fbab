# SPDX-License-Identifier: Apache-2.0
"""The class-conditional VAR transformer, with the official tensor names.

Training reads all scales at once (attention is causal over scales); generation goes scale by scale with a cache.
B pictures; rows are B with a class, or 2 B (with, without) under guidance; C width; L tokens of all scales.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from attention import MAX_LOG_SCALE, attend_by_scale, leading

EPSILON = 1e-6


def modulate(x, scale, shift):
    return F.layer_norm(x, x.shape[-1:], eps=EPSILON) * (1 + scale) + shift


class SelfAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.scale_mul_1H11 = nn.Parameter(torch.full((1, heads, 1, 1), math.log(4.0)))
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("zero_k_bias", torch.zeros(width))
        self.mat_qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x, sizes, past=None):
        """`past`: list that holds keys and values of earlier scales and receives these; None in training."""
        rows, length, width = x.shape
        bias = torch.cat((self.q_bias, self.zero_k_bias, self.v_bias))
        qkv = F.linear(x, self.mat_qkv.weight, bias).view(rows, length, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scale = self.scale_mul_1H11.float().clamp(max=MAX_LOG_SCALE).exp()
        q = (F.normalize(q.float(), dim=-1, eps=1e-12) * scale).to(v.dtype)
        k = F.normalize(k.float(), dim=-1, eps=1e-12).to(v.dtype)
        if past is None:
            out = attend_by_scale(q, k, v, sizes, scale=1.0)
        else:
            past.append((k, v))
            keys, values = (torch.cat(parts, 2) for parts in zip(*past, strict=True))
            out = F.scaled_dot_product_attention(q, keys, values, scale=1.0)
        return self.proj(out.transpose(1, 2).reshape(rows, length, width))


class FeedForward(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, width, heads, shared_aln):
        super().__init__()
        self.attn, self.ffn = SelfAttention(width, heads), FeedForward(width, 4 * width)
        if shared_aln:
            self.ada_gss = nn.Parameter(torch.zeros(1, 1, 6, width))
        else:
            self.ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x, condition, sizes, past=None, keep=None):
        """`keep` [rows, 1, 1] is 0 for rows that skip this block (stochastic depth), else 1 / probability."""
        if hasattr(self, "ada_gss"):
            modulation = condition + self.ada_gss
        else:
            modulation = self.ada_lin(condition).view(-1, 1, 6, x.shape[-1])
        gamma1, gamma2, scale1, scale2, shift1, shift2 = modulation.unbind(2)
        if keep is not None:
            gamma1, gamma2 = gamma1 * keep, gamma2 * keep
        x = x + gamma1 * self.attn(modulate(x, scale1, shift1), sizes, past)
        return x + gamma2 * self.ffn(modulate(x, scale2, shift2))


class HeadNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x, condition):
        scale, shift = self.ada_lin(condition).view(-1, 1, 2, x.shape[-1]).unbind(2)
        return modulate(x, scale, shift)


class VAR(nn.Module):
    def __init__(self, depth, embed_dim, num_heads, num_classes, patch_nums, vocab_size, z_channels,
                 shared_aln=False, drop_path=0.0, class_drop=0.1, **_):  # fmt: skip
        super().__init__()
        self.patch_nums, self.num_classes = tuple(patch_nums), num_classes
        self.sizes = [p * p for p in patch_nums]
        self.class_drop = class_drop
        self.drop_path = [drop_path * layer / max(depth - 1, 1) for layer in range(depth)]
        length = sum(self.sizes)
        self.pos_start = nn.Parameter(torch.zeros(1, self.sizes[0], embed_dim))
        self.pos_1LC = nn.Parameter(torch.zeros(1, length, embed_dim))
        levels = torch.cat([torch.full((size,), scale) for scale, size in enumerate(self.sizes)])
        self.register_buffer("lvl_1L", levels[None])
        self.word_embed = nn.Linear(z_channels, embed_dim)
        self.class_emb = nn.Embedding(num_classes + 1, embed_dim)
        self.lvl_embed = nn.Embedding(len(patch_nums), embed_dim)
        if shared_aln:
            self.shared_ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(embed_dim, 6 * embed_dim))
        self.blocks = nn.ModuleList([Block(embed_dim, num_heads, shared_aln) for _ in range(depth)])
        self.head_nm = HeadNorm(embed_dim)
        self.head = nn.Linear(embed_dim, vocab_size)

    def init_weights(self):
        """Small everywhere; residual branches start at a strength that sums to one over depth."""
        width, depth = self.class_emb.weight.shape[1], len(self.blocks)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=math.sqrt(1 / (3 * width)))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for table in (self.class_emb.weight, self.lvl_embed.weight, self.pos_1LC, self.pos_start):
            nn.init.normal_(table, std=math.sqrt(1 / (3 * width)))
        for modulation in self._modulations():
            nn.init.normal_(modulation.weight, std=0.02 * math.sqrt(1 / width))
            with torch.no_grad():
                modulation.bias.view(-1, width)[:2] = 1.0  # gamma1, gamma2
        nn.init.zeros_(self.head_nm.ada_lin[1].weight)
        nn.init.zeros_(self.head_nm.ada_lin[1].bias)
        for block in self.blocks:
            for out in (block.attn.proj, block.ffn.fc2):
                with torch.no_grad():
                    out.weight.mul_(1 / math.sqrt(2 * depth))

    def _modulations(self):
        if hasattr(self, "shared_ada_lin"):
            return [self.shared_ada_lin[1]]
        return [block.ada_lin[1] for block in self.blocks]

    def _condition(self, start):
        """What blocks read: the class vectors, or their shared modulation."""
        if hasattr(self, "shared_ada_lin"):
            return self.shared_ada_lin(start).view(-1, 1, 6, start.shape[-1])
        return start

    def _positions(self):
        return self.lvl_embed(self.lvl_1L) + self.pos_1LC

    def forward(self, labels, inputs, reading=None, generator=None):
        """Logits [B, L, V] of every scale at once; `inputs` [B, L - 1, Z] from MultiScaleQuantizer.next_inputs.

        Inputs of the first scales only give their logits only, those of a `reading` (windows.py) the logits of its tokens."""
        length = inputs.shape[1] + 1
        sizes = reading.sizes if reading else leading(self.sizes, length)
        positions = self._positions()
        positions = positions[0][reading.index] if reading else positions[:, :length]
        if self.training and self.class_drop:
            dropped = torch.rand(labels.shape, device=labels.device, generator=generator) < self.class_drop
            labels = torch.where(dropped, self.num_classes, labels)
        start = self.class_emb(labels)
        first = start[:, None] + self.pos_start
        x = torch.cat((first, self.word_embed(inputs).to(first.dtype)), 1) + positions
        condition = self._condition(start)
        for block, drop in zip(self.blocks, self.drop_path, strict=True):
            keep = None
            if self.training and drop:
                kept = torch.rand(len(labels), 1, 1, device=x.device, generator=generator) >= drop
                keep = kept / (1 - drop)
            x = block(x, condition, sizes, keep=keep)
        return self.head(self.head_nm(x, start)).float()

    @torch.no_grad()
    def generate(self, quantizer, labels, cfg=1.5, top_k=0, top_p=0.0, generator=None, trace=None):
        """The final latent [B, Z, P, P]. top_k 1 is greedy; `trace` (a dict) receives logits, tokens and latents."""
        batch, steps = len(labels), len(self.patch_nums)
        start = self.class_emb(torch.cat((labels, torch.full_like(labels, self.num_classes))))
        condition, positions = self._condition(start), self._positions()
        x = start[:, None] + self.pos_start + positions[:, : self.sizes[0]]
        past = [[] for _ in self.blocks]
        latent, seen = 0, self.sizes[0]
        for scale in range(steps):
            for block, cache in zip(self.blocks, past, strict=True):
                x = block(x, condition, self.sizes, cache)
            raw = self.head(self.head_nm(x, start)).float()
            weight = cfg * scale / (steps - 1)
            logits = (1 + weight) * raw[:batch] - weight * raw[batch:]
            tokens = sample(logits, top_k, top_p, generator)
            latent = latent + quantizer.contribution(scale, tokens)
            if trace is not None:
                trace |= {f"logits_raw.{scale}": raw, f"logits.{scale}": logits, f"tokens.{scale}": tokens, f"f_hat.{scale}": latent}
            if scale + 1 < steps:
                inputs = quantizer.shrink(latent, scale + 1).flatten(2).transpose(1, 2)
                ahead = seen + self.sizes[scale + 1]
                x = (self.word_embed(inputs) + positions[:, seen:ahead]).repeat(2, 1, 1)
                seen = ahead
        return latent


def sample(logits, top_k, top_p, generator=None):
    """One token per position, [B, n]; ties with the k-th largest stay, the largest always stays."""
    if top_k == 1:
        return logits.argmax(-1)
    if top_k > 0:
        least = logits.topk(min(top_k, logits.shape[-1])).values[..., -1:]
        logits = logits.masked_fill(logits < least, -math.inf)
    if top_p > 0:
        values, order = logits.sort(-1)
        removed = values.softmax(-1).cumsum(-1) <= 1 - top_p
        removed[..., -1] = False
        logits = logits.masked_fill(removed.scatter(-1, order, removed), -math.inf)
    flat = logits.softmax(-1).flatten(0, 1)
    return torch.multinomial(flat, 1, generator=generator).view(logits.shape[:2])
