# SPDX-License-Identifier: Apache-2.0
"""The text encoder of T5 1.1 (gated GELU, relative positions of block 0, no biases), with the published tensor names.

Small, and trained together with the image model; `tokenizer.py` makes the ids.
"""

import json
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

EPSILON = 1e-6
BUCKETS, MAX_DISTANCE = 32, 128


def relative_bucket(distance):
    """Bucket of key position minus query position: exact near by, logarithmic farther off."""
    half, exact = BUCKETS // 2, BUCKETS // 4
    magnitude = distance.abs()
    far = exact + (torch.log(magnitude.clamp(min=1).float() / exact) / math.log(MAX_DISTANCE / exact) * (half - exact)).floor().long()
    return torch.where(distance > 0, half, 0) + torch.where(magnitude < exact, magnitude, far.clamp(max=half - 1))


def directions(heads):
    """First biases [BUCKETS, heads]: heads look back and ahead in turn, every second pair near by, so that the order of words
    can be told from the first step on."""
    half = BUCKETS // 2
    biases = torch.zeros(BUCKETS, heads)
    for head in range(heads):
        away = slice(half, None) if head % 2 == 0 else slice(1, half)
        biases[away, head] = -4.0
        if head // 2 % 2 == 1:
            biases[:, head] -= 0.5 * (torch.arange(BUCKETS) % half)
    return biases


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        x = x.float()
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON)


class SelfAttention(nn.Module):
    def __init__(self, d_model, d_kv, heads, has_bias):
        super().__init__()
        self.heads = heads
        inner = d_kv * heads
        self.q, self.k, self.v = (nn.Linear(d_model, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, d_model, bias=False)
        if has_bias:
            self.relative_attention_bias = nn.Embedding(BUCKETS, heads)

    def position_bias(self, length):
        places = torch.arange(length, device=self.q.weight.device)
        buckets = relative_bucket(places[None] - places[:, None])
        return self.relative_attention_bias(buckets).permute(2, 0, 1)[None]

    def forward(self, x, bias):
        rows, length, _ = x.shape
        q, k, v = (part(x).view(rows, length, self.heads, -1).transpose(1, 2) for part in (self.q, self.k, self.v))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype), scale=1.0)
        return self.o(out.transpose(1, 2).reshape(rows, length, -1))


class GatedFeedForward(nn.Module):
    def __init__(self, d_model, d_ff):
        super().__init__()
        self.wi_0, self.wi_1 = nn.Linear(d_model, d_ff, bias=False), nn.Linear(d_model, d_ff, bias=False)
        self.wo = nn.Linear(d_ff, d_model, bias=False)

    def forward(self, x):
        return self.wo(F.gelu(self.wi_0(x), approximate="tanh") * self.wi_1(x))


class AttentionLayer(nn.Module):
    def __init__(self, d_model, d_kv, heads, has_bias):
        super().__init__()
        self.SelfAttention = SelfAttention(d_model, d_kv, heads, has_bias)
        self.layer_norm = RmsNorm(d_model)


class FeedForwardLayer(nn.Module):
    def __init__(self, d_model, d_ff):
        super().__init__()
        self.DenseReluDense = GatedFeedForward(d_model, d_ff)
        self.layer_norm = RmsNorm(d_model)


class Block(nn.Module):
    def __init__(self, d_model, d_kv, heads, d_ff, has_bias):
        super().__init__()
        self.layer = nn.ModuleList([AttentionLayer(d_model, d_kv, heads, has_bias), FeedForwardLayer(d_model, d_ff)])

    def forward(self, x, bias):
        attention, feed_forward = self.layer
        x = x + attention.SelfAttention(attention.layer_norm(x), bias)
        return x + feed_forward.DenseReluDense(feed_forward.layer_norm(x))


class Encoder(nn.Module):
    def __init__(self, d_model, d_kv, heads, d_ff, layers):
        super().__init__()
        self.block = nn.ModuleList([Block(d_model, d_kv, heads, d_ff, number == 0) for number in range(layers)])
        self.final_layer_norm = RmsNorm(d_model)


class T5Encoder(nn.Module):
    def __init__(self, d_model, d_kv, num_heads, d_ff, num_layers, vocab_size, **_):
        super().__init__()
        self.shared = nn.Embedding(vocab_size, d_model)
        self.encoder = Encoder(d_model, d_kv, num_heads, d_ff, num_layers)

    def init_weights(self):
        for name, value in self.named_parameters():
            if value.ndim < 2:
                continue
            nn.init.normal_(value, std=1.0 if name == "shared.weight" else value.shape[1] ** -0.5)
            if name.endswith("SelfAttention.q.weight"):
                with torch.no_grad():
                    value.mul_((value.shape[0] // self.encoder.block[0].layer[0].SelfAttention.heads) ** -0.5)
            if name.endswith("relative_attention_bias.weight"):
                with torch.no_grad():
                    value.copy_(directions(value.shape[1]))

    def forward(self, ids, mask):
        """ids [R, L], mask [R, L] true at tokens; features [R, L, d_model], meaningless beyond the mask."""
        x = self.shared(ids)
        bias = self.encoder.block[0].layer[0].SelfAttention.position_bias(ids.shape[1])
        bias = bias.masked_fill(~mask[:, None, None], torch.finfo(torch.float32).min)
        for block in self.encoder.block:
            x = block(x, bias)
        return self.encoder.final_layer_norm(x)


def save_encoder(module, config, folder, dtype=torch.float32):
    """A Hugging Face folder: config.json and model.safetensors."""
    weights = {key: value.detach().cpu().to(dtype).contiguous() for key, value in module.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    published = {
        "architectures": ["T5EncoderModel"], "model_type": "t5", "feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu_new",
        "is_gated_act": True, "layer_norm_epsilon": EPSILON, "relative_attention_num_buckets": BUCKETS,
        "relative_attention_max_distance": MAX_DISTANCE, "tie_word_embeddings": False, "pad_token_id": 0, "eos_token_id": 1,
        **{key: config[key] for key in ("d_model", "d_kv", "num_heads", "d_ff", "num_layers", "vocab_size")},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(published, indent=1) + "\n")
