# SPDX-License-Identifier: Apache-2.0
"""The multi-scale residual VQVAE of the class-conditional VAR family, with the official tensor names.

`MultiScaleQuantizer` is also the bridge to the transformer: tokens to latent, latent to next-scale input.
Latents are [B, Z, P, P], tokens a list over scales of [B, p_k * p_k], pictures [B, 3, 16 P, 16 P] in [-1, 1].
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

GROUPS, EPSILON = 32, 1e-6
COMMITMENT = 0.25  # weight of pulling the encoder to its codes
SHARED_PHI = 4


def phi_index(scale, scales, convs=SHARED_PHI):
    """Which shared residual convolution a scale uses: the nearest tick, the later one in a tie (exact, in integers)."""
    if convs != SHARED_PHI:
        raise ValueError(f"{convs} residual convolutions, wanted {SHARED_PHI}")
    last = scales - 1
    return (9 * scale >= 2 * last) + (2 * scale >= last) + (9 * scale >= 7 * last)


class GroupNorm(nn.GroupNorm):
    """The usual one; on the CPU, where its gradient is slow, spelled as the normalisation of rows that it is."""

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):  # statistics are float32 either way
            weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
            if x.device.type != "cpu":
                return F.group_norm(x, self.num_groups, weight, bias, self.eps)
            rows = x.reshape(len(x), self.num_groups, -1)
            rows = F.layer_norm(rows, rows.shape[-1:], eps=self.eps)
            return torch.addcmul(bias[:, None, None], rows.view(x.shape), weight[:, None, None])


def norm(channels):
    return GroupNorm(GROUPS, channels, eps=EPSILON)


def conv3(inside, outside, stride=1, padding=1):
    return nn.Conv2d(inside, outside, 3, stride, padding)


class ResBlock(nn.Module):
    def __init__(self, inside, outside):
        super().__init__()
        self.norm1, self.conv1 = norm(inside), conv3(inside, outside)
        self.norm2, self.conv2 = norm(outside), conv3(outside, outside)
        if inside != outside:
            self.nin_shortcut = nn.Conv2d(inside, outside, 1)
        nn.init.normal_(self.conv2.weight, std=1e-3)  # starts as its shortcut

    def forward(self, x):
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + y


class AttnBlock(nn.Module):
    """One head over all pixels."""

    def __init__(self, channels):
        super().__init__()
        self.norm = norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.proj_out.weight)

    def forward(self, x):
        batch, channels, height, width = x.shape
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2)[:, None].chunk(3, -1)
        y = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2)
        return x + self.proj_out(y.reshape(batch, channels, height, width))


class Downsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = conv3(channels, channels, stride=2, padding=0)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = conv3(channels, channels)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """Blocks of one resolution; attention at the coarsest."""

    def __init__(self, inside, outside, blocks, has_attention):
        super().__init__()
        self.block = nn.ModuleList([ResBlock(inside if i == 0 else outside, outside) for i in range(blocks)])
        self.attn = nn.ModuleList([AttnBlock(outside) for _ in range(blocks if has_attention else 0)])

    def forward(self, x):
        for number, block in enumerate(self.block):
            x = block(x)
            if len(self.attn):
                x = self.attn[number](x)
        return x


class Middle(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = ResBlock(channels, channels), AttnBlock(channels), ResBlock(channels, channels)

    def forward(self, x):
        return self.block_2(self.attn_1(self.block_1(x)))


class Encoder(nn.Module):
    def __init__(self, ch, ch_mult, blocks, z_channels):
        super().__init__()
        widths = [ch * factor for factor in ch_mult]
        self.conv_in = conv3(3, ch)
        self.down = nn.ModuleList()
        for level, width in enumerate(widths):
            is_coarsest = level == len(widths) - 1
            stage = Level(widths[max(level - 1, 0)], width, blocks, is_coarsest)
            if not is_coarsest:
                stage.downsample = Downsample(width)
            self.down.append(stage)
        self.mid = Middle(widths[-1])
        self.norm_out, self.conv_out = norm(widths[-1]), conv3(widths[-1], z_channels)

    def forward(self, x):
        x = self.conv_in(x)
        for stage in self.down:
            x = stage(x)
            if hasattr(stage, "downsample"):
                x = stage.downsample(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    def __init__(self, ch, ch_mult, blocks, z_channels):
        super().__init__()
        widths = [ch * factor for factor in ch_mult]
        self.conv_in = conv3(z_channels, widths[-1])
        self.mid = Middle(widths[-1])
        self.up = nn.ModuleList()
        for level, width in enumerate(widths):
            is_coarsest = level == len(widths) - 1
            stage = Level(widths[min(level + 1, len(widths) - 1)], width, blocks + 1, is_coarsest)
            if level > 0:
                stage.upsample = Upsample(width)
            self.up.append(stage)
        self.norm_out, self.conv_out = norm(ch), conv3(ch, 3)

    def forward(self, x):
        x = self.mid(self.conv_in(x))
        for stage in reversed(self.up):
            x = stage(x)
            if hasattr(stage, "upsample"):
                x = stage.upsample(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class ResidualConvs(nn.Module):
    def __init__(self, channels, convs):
        super().__init__()
        self.qresi_ls = nn.ModuleList([conv3(channels, channels) for _ in range(convs)])


class MultiScaleQuantizer(nn.Module):
    def __init__(self, vocab, z_channels, patch_nums, ratio=0.5):
        super().__init__()
        self.patch_nums, self.ratio = tuple(patch_nums), ratio
        self.embedding = nn.Embedding(vocab, z_channels)
        self.quant_resi = ResidualConvs(z_channels, SHARED_PHI)
        self.register_buffer("ema_vocab_hit_SV", torch.zeros(len(patch_nums), vocab))
        for conv in self.quant_resi.qresi_ls:  # start as no change at all
            nn.init.dirac_(conv.weight)
            nn.init.zeros_(conv.bias)

    @property
    def side(self):
        return self.patch_nums[-1]

    def blend(self, scale, u):
        """Half the upsampled codes, half their residual convolution."""
        conv = self.quant_resi.qresi_ls[phi_index(scale, len(self.patch_nums))]
        return u * (1 - self.ratio) + conv(u).float() * self.ratio

    def contribution(self, scale, tokens):
        """What the tokens [B, p*p] of a scale add to the latent."""
        p = self.patch_nums[scale]
        codes = self.embedding(tokens).float().transpose(1, 2).reshape(len(tokens), -1, p, p)
        if p != self.side:
            codes = F.interpolate(codes, size=(self.side, self.side), mode="bicubic", align_corners=False)
        return self.blend(scale, codes)

    def shrink(self, latent, scale):
        p = self.patch_nums[scale]
        return latent if p == self.side else F.interpolate(latent, size=(p, p), mode="area")

    def nearest(self, z):
        """Indices [n] of the codes nearest to the rows of z [n, Z]."""
        codes = self.embedding.weight.float()
        return (codes.square().sum(1) - 2 * z @ codes.T).argmin(1)

    def requantize(self, latent, disturb):
        """What the codes make of `latent` when `disturb` changes every residual [B, Z, p, p] before they do."""
        return self.latent_of(self.encode(latent, disturb))

    @torch.no_grad()
    def encode(self, latent, disturb=lambda residual: residual):
        """Tokens of every scale."""
        tokens, rest = [], latent.float()
        for scale in range(len(self.patch_nums)):
            z = disturb(self.shrink(rest, scale)).flatten(2).transpose(1, 2)
            tokens.append(self.nearest(z.flatten(0, 1)).view(len(latent), -1))
            rest = rest - self.contribution(scale, tokens[-1])
        return tokens

    def next_inputs(self, tokens):
        """What the transformer reads at scales 1 ... S-1 when earlier tokens are as given: [B, L - 1, Z].

        `tokens` may be those of the first scales only; L counts theirs."""
        latent, inputs = 0, []
        for scale in range(len(tokens) - 1):
            latent = latent + self.contribution(scale, tokens[scale])
            inputs.append(self.shrink(latent, scale + 1).flatten(2).transpose(1, 2))
        return torch.cat(inputs, 1)

    def latent_of(self, tokens):
        return sum(self.contribution(scale, each) for scale, each in enumerate(tokens))

    def forward(self, latent):
        """Training: quantized latent (gradient passes straight through), loss, residuals and tokens of every scale."""
        latent = latent.float()
        rest, total, loss = latent.detach(), torch.zeros_like(latent), 0.0
        residuals, tokens = [], []
        for scale in range(len(self.patch_nums)):
            z = self.shrink(rest, scale).flatten(2).transpose(1, 2).flatten(0, 1)
            residuals.append(z)
            tokens.append(self.nearest(z).detach().view(len(latent), -1))
            added = self.contribution(scale, tokens[-1])
            total = total + added
            rest = rest - added.detach()
            loss = loss + F.mse_loss(total, latent.detach()) + COMMITMENT * F.mse_loss(total.detach(), latent)
        return latent + (total - latent).detach(), loss / len(self.patch_nums), residuals, tokens


    @torch.no_grad()
    def draw_codebook(self, latent, generator):
        """Codes from a batch of latents: an equal share from the residuals of every scale, coarse to fine."""
        scales, vocab = len(self.patch_nums), self.embedding.num_embeddings
        self.embedding.weight.fill_(1e4)  # nearest to nothing until drawn
        rest = latent.float()
        for scale in range(scales):
            begin, end = vocab * scale // scales, vocab * (scale + 1) // scales
            z = self.shrink(rest, scale).flatten(2).transpose(1, 2).flatten(0, 1)
            picks = torch.randint(len(z), (end - begin,), generator=generator).to(z.device)
            self.embedding.weight[begin:end] = z[picks]
            rest = rest - self.contribution(scale, self.nearest(z).view(len(latent), -1))

    @torch.no_grad()
    def count_hits(self, tokens, decay=0.99):
        for scale, each in enumerate(tokens):
            hits = torch.bincount(each.flatten(), minlength=self.embedding.num_embeddings)
            self.ema_vocab_hit_SV[scale].mul_(decay).add_(hits * ((1 - decay) / each.numel() * self.embedding.num_embeddings))

    @torch.no_grad()
    def revive_codes(self, residuals, generator, least=0.03):
        """Codes that hardly any scale uses move to residuals at hand; returns which."""
        dead = (self.ema_vocab_hit_SV.amax(0) < least).nonzero()[:, 0]
        for scale, codes in enumerate(dead.tensor_split(len(residuals))):
            picks = torch.randint(len(residuals[scale]), (len(codes),), generator=generator).to(codes.device)
            self.embedding.weight[codes] = residuals[scale][picks].detach()
        self.ema_vocab_hit_SV[:, dead] = 1.0
        return dead


class VQVAE(nn.Module):
    def __init__(self, vocab_size, z_channels, ch, patch_nums, ch_mult=(1, 1, 2, 2, 4), num_res_blocks=2, **_):
        super().__init__()
        self.encoder = Encoder(ch, ch_mult, num_res_blocks, z_channels)
        self.decoder = Decoder(ch, ch_mult, num_res_blocks, z_channels)
        self.quant_conv, self.post_quant_conv = conv3(z_channels, z_channels), conv3(z_channels, z_channels)
        self.quantize = MultiScaleQuantizer(vocab_size, z_channels, patch_nums)

    def latent(self, pictures):
        return self.quant_conv(self.encoder(pictures)).float()

    def decode(self, latent):
        """Pictures, not clamped."""
        return self.decoder(self.post_quant_conv(latent))

    def tokens(self, pictures):
        return self.quantize.encode(self.latent(pictures))

    def picture(self, latent):
        """In [0, 1]."""
        return (self.decode(latent).float().clamp(-1, 1) + 1) / 2
