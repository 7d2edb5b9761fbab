# SPDX-License-Identifier: Apache-2.0
"""Draws a grid with what a run has exported: `python sample.py --config configs/NAME.json --out grid.png [--prompt TEXT ...]`.

`--tokens` shows what the VAE alone makes of held-out scenes instead: pairs of scene and reconstruction.
"""

import argparse
import json
from pathlib import Path

import torch

import pictures
import stages
from stage import finished_vae


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path(__file__).parent / "runs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--prompt", nargs="+", help="text models: what to draw, instead of the built-in list")
    parser.add_argument("--label", nargs="+", help="class models: names of classes, instead of all")
    parser.add_argument("--count", type=int, default=1, help="pictures of each")
    parser.add_argument("--tokens", action="store_true", help="reconstructions of the VAE")
    arguments = parser.parse_args()
    config = json.loads(arguments.config.read_text())
    folder = arguments.runs / config["name"]
    name = "vae" if arguments.tokens else "model"
    config["train"][name]["cached_scenes"] = 0
    stage = stages.STAGES[config["family"], name](config, torch.device(arguments.device), folder)
    stage.load(finished_vae(folder) if arguments.tokens else folder / name)
    stage.module.eval()
    if arguments.tokens:
        stage.load_extra({"quantized": True, "has_codes": True})
        print(stage.evaluate(arguments.out))
        return
    wanted = arguments.prompt or arguments.label or stage.subjects()
    images = stage.draw([each for each in wanted for _ in range(arguments.count)], arguments.seed)
    pictures.save_grid(images, arguments.out, columns=10 if config["family"] == "var" else 6)


if __name__ == "__main__":
    main()
