# SPDX-License-Identifier: Apache-2.0
"""What train.py trains: for every family and stage the module, its loss on a batch of fresh scenes, and its export."""

import torch
import torch.nn.functional as F

import bsq_vae
import infinity
import judge
import pictures
import var
import vqvae
from decoder_stages import InfinityDecoder, VarDecoder
from disturbance import Disturbance
from infinity_stages import InfinityModel, InfinityText, InfinityVae
from scenes import HELD_OUT_SEED
from stage import Stage
from var_stages import VarModel, VarVae

JUDGE_FILE = "judge.safetensors"
# The judge learns from scenes that no model saw: its seeds are the config's plus this.
JUDGE_SEED_OFFSET = 500_000


def compile_blocks(module):
    """Compiles the repeated parts, each once, instead of the whole."""
    import torch._dynamo

    torch._dynamo.config.recompile_limit = 64
    for part in module.modules():
        if isinstance(part, (var.Block, infinity.Block, vqvae.ResBlock, bsq_vae.ResBlock)):
            part.compile()


class JudgeStage(Stage):
    def __init__(self, config, device, _folder):
        super().__init__(config, device, config["train"]["judge"])
        self.module = judge.Judge(len(self.scenes.names)).to(device)
        self.disturb = Disturbance(config["seed"], device) if self.settings.get("disturb", True) else lambda images: images

    def loss(self, step, _progress):
        described, images = self.batch(step, seed=self.config["seed"] + JUDGE_SEED_OFFSET)
        images = self.disturb((images + 1) / 2)
        with self.autocast():
            heat, color, _ = self.module(images)
        centres = judge.focal_loss(heat, judge.targets(described, len(self.scenes.names)))
        colors = F.cross_entropy(color.float(), described.color)
        right = (color.detach().argmax(1) == described.color).float().mean()
        return centres + colors, {"centres": centres.detach(), "color_right": right}

    @torch.no_grad()
    def evaluate(self, path):
        _, images = self.scenes.make(HELD_OUT_SEED + 1, 0, 16)
        pictures.save_grid(images, path, columns=8)
        found = judge.accuracies(self.module, self.scenes, HELD_OUT_SEED + 1, self.settings.get("evaluated_scenes", 2000))
        return {f"held_out_{name}": value for name, value in found.items()}

    def export(self, folder):
        judge.save_judge(self.module, self.scenes.names, folder / JUDGE_FILE)


STAGES = {
    ("var", "vae"): VarVae,
    ("var", "decoder"): VarDecoder,
    ("var", "model"): VarModel,
    ("infinity", "vae"): InfinityVae,
    ("infinity", "decoder"): InfinityDecoder,
    ("infinity", "text"): InfinityText,
    ("infinity", "model"): InfinityModel,
    ("var", "judge"): JudgeStage,
    ("infinity", "judge"): JudgeStage,
}
