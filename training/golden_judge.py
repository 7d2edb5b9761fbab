# SPDX-License-Identifier: Apache-2.0
"""Writes a tiny judge with random weights and what it sees to ../tests/data/judge: what the engine's judge is held to.

`python golden_judge.py` writes judge.safetensors (as judge.save_judge does) and expected.safetensors:
picture.K [height, width, 3] u8, heat.K [classes, cells, cells], color.K, features.K, sprites.K [found, 4] (class, x, y, score), f32.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import judge

FOLDER = Path(__file__).parent.parent / "tests" / "data" / "judge"
NAMES = ("dog", "red apple", "star", "boat", "key")
SIZES = ((32, 32), (75, 50), (21, 40), (64, 64), (256, 32))  # width, height


def shrink_judge():
    """Another trunk than the real one's: widths, side and pools are data."""
    judge.SIDE, judge.CELLS = 32, 8
    judge.WIDTHS, judge.POOLS = (8, 12, 16, 24), (0, 2)
    judge.THRESHOLD = 0.55


def random_judge():
    result = judge.Judge(len(NAMES))
    with torch.no_grad():
        torch.nn.init.normal_(result.heatmap.weight, std=0.3)
        torch.nn.init.normal_(result.heatmap.bias, mean=-1.5, std=0.3)
        for norm in result.norms:
            norm.weight.uniform_(0.7, 1.3)
            norm.bias.normal_(std=0.2)
            norm.momentum = 1.0
        result(smooth_picture(judge.SIDE, judge.SIDE, batch=16))  # for the norms' means and variances
    return result.eval()


def smooth_picture(width, height, batch=1):
    rough = torch.rand(batch, 3, height // 4 + 1, width // 4 + 1)
    return F.interpolate(rough, size=(height, width), mode="bilinear")


def main():
    torch.manual_seed(1)
    shrink_judge()
    FOLDER.mkdir(parents=True, exist_ok=True)
    judge.save_judge(random_judge(), NAMES, FOLDER / "judge.safetensors")
    weights = load_file(FOLDER / "judge.safetensors")
    expected = {}
    for number, (width, height) in enumerate(SIZES):
        picture = (smooth_picture(width, height) * 255).to(torch.uint8)
        shrunk = F.interpolate(picture.float() / 255, size=(judge.SIDE, judge.SIDE), mode="area")
        heat, color, features = judge.run_folded(weights, shrunk)
        expected |= {f"picture.{number}": picture[0].permute(1, 2, 0).contiguous(), f"heat.{number}": heat[0],
                     f"color.{number}": color[0], f"features.{number}": features[0],
                     f"sprites.{number}": torch.tensor(judge.sprites_of(heat)[0]).view(-1, 4)}  # fmt: skip
    save_file(expected, FOLDER / "expected.safetensors")


if __name__ == "__main__":
    main()
