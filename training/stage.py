# SPDX-License-Identifier: Apache-2.0
"""What all stages share: their batches, which scales a step reads, files of weights, losses and measures of pictures."""

import contextlib

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from scenes import HELD_OUT_SEED, SceneMaker
from windows import read_windows

VAE_FILE, MODEL_FILE = "vae.pth", "model.pth"
CACHED_TOGETHER = 64
FIRST_TOKENS = 21  # of the scales that decide what a picture shows, for the log


def save_weights(weights, path, dtype=torch.float32, wrap=None):
    """A torch file as the families publish them: a flat mapping, below the key `wrap` if there is one."""
    flat = {key: value.detach().cpu().to(dtype if value.is_floating_point() else value.dtype).clone() for key, value in weights.items()}
    torch.save({wrap: flat} if wrap else flat, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def finished_vae(folder):
    """A run's VAE as it ships: the one whose decoder went on alone, if that was asked for."""
    path = folder / "decoder" / VAE_FILE
    return path if path.exists() else folder / "vae" / VAE_FILE


def read_transformer(folder):
    """Of a model stage's folder, or of the engine's model folder."""
    converted = folder / "model.safetensors"
    return load_file(converted) if converted.exists() else torch.load(folder / MODEL_FILE, map_location="cpu", weights_only=True)


def load_transformer(module, weights):
    """Every parameter; the engine's model folder leaves out buffers that are constants."""
    missing = set(module.load_state_dict(weights, strict=False).missing_keys)
    if missing := missing & {name for name, _ in module.named_parameters()}:
        raise SystemExit(f"transformer: got weights without {min(missing)} and {len(missing) - 1} more, wanted those of the config")


def scale_weights(sizes, power, device):
    """Weight of every token's loss, mean 1: a scale of n tokens counts as n ** (1 + power); 0 is every token alike."""
    weights = torch.cat([torch.full((size,), float(size) ** power) for size in sizes])
    return (weights / weights.mean()).to(device)


class Stage:
    """Defaults of a stage; `module` is what is trained."""

    def __init__(self, config, device, settings):
        self.config, self.device, self.settings = config, device, settings
        for turn in settings.get("turns", []):
            if turn.get("scales", 2) < (1 if "window" in turn else 2):
                raise SystemExit(f"turns: got {turn['scales']} scales, wanted at least 2: a step predicts a scale from those before")
        if config["seed"] >= HELD_OUT_SEED:
            raise SystemExit(f"seed {config['seed']} is kept for evaluation, wanted one below {HELD_OUT_SEED}")
        self.scenes = SceneMaker(config["scenes"], device)
        self.generator = torch.Generator().manual_seed(config["seed"])

    def autocast(self):
        if not self.settings.get("bf16", True):
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def batch(self, step, seed=None, size=None):
        """Scenes and pictures in [-1, 1] of a training step."""
        size = size or self.settings["batch"]
        described, images = self.scenes.make(self.config["seed"] if seed is None else seed, step * size, size)
        return described, images * 2 - 1

    def turn(self, step):
        """What a step reads: "batch" pictures, of them the first "scales" (all, if not given), and with "window" also the others, of
        which a square of this share of the side. Steps go through "turns"."""
        turns = self.settings.get("turns", [self.settings])
        return turns[step % len(turns)]

    def windows(self, turn, grids, centres):
        """The Reading of a turn with a window somewhere about a sprite; else None. `centres` [B, SLOTS, 2], NaN where there is none."""
        if "window" not in turn:
            return None
        used = ~centres[..., 0].isnan()
        slot = (torch.rand(len(centres), generator=self.generator) * used.sum(1).cpu()).long()
        spread = turn["window"] * (torch.rand(len(centres), 2, generator=self.generator) - 0.5)
        return read_windows(grids, turn["scales"], turn["window"], centres[torch.arange(len(centres)), slot] + spread.to(centres.device))

    def encode_ahead(self):
        """The first "cached_scenes" in encoded parts, for machines where encoding costs more than the transformer."""
        parts = -(-self.settings.get("cached_scenes", 0) // CACHED_TOGETHER)
        return [self.encode(number, self.config["seed"], CACHED_TOGETHER) for number in range(parts)]

    def picks(self, count, size):
        """Which of `count` cached scenes a step reads."""
        return torch.randint(count, (size,), generator=self.generator)

    def after_step(self, step, progress, ema):
        pass

    def extra(self):
        return {}

    def load_extra(self, extra):
        pass

    def needs_start(self):
        """The setting that means nothing without --start, if there is one."""
        return "start_share" if self.settings.get("start_share") else None

    def load(self, path):
        self.module.load_state_dict(torch.load(path, map_location=self.device, weights_only=True), strict=False)


def reconstruction_loss(got, wanted):
    """Absolute error of pixels, and of their differences to neighbours, which keeps edges sharp."""
    down = F.l1_loss(got[:, :, 1:] - got[:, :, :-1], wanted[:, :, 1:] - wanted[:, :, :-1])
    across = F.l1_loss(got[..., 1:] - got[..., :-1], wanted[..., 1:] - wanted[..., :-1])
    return F.l1_loss(got, wanted) + 0.5 * F.mse_loss(got, wanted) + down + across


def psnr(got, wanted):
    """Of pictures in [-1, 1], mean over the batch."""
    error = (got.float().clamp(-1, 1) - wanted).square().flatten(1).mean(1) / 4
    return (-10 * error.clamp(min=1e-10).log10()).mean()
