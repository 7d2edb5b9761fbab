# SPDX-License-Identifier: Apache-2.0
"""Gathers what a run has exported for shipping, and draws its curves.

`python package.py --config configs/NAME.json --out FOLDER` writes model.pth and vae.pth with floats in bf16 (half the bytes; what
`nextscale convert` reads), the text encoder, the judge, logs, curves.png and the last pictures.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

FLAT_CURVES = ("loss", "psnr", "accuracy", "accuracy_last", "bits_right", "bits_right_first", "color_right")


def halve(tensors):
    return {key: halve(value) if isinstance(value, dict) else value.bfloat16() if value.is_floating_point() else value
            for key, value in tensors.items()}  # fmt: skip


def copy_exports(source, out):
    for stage in ("vae", "decoder", "model", "judge"):  # a decoder's VAE takes the place of the one it began with
        for path in (source / stage).glob("*.pth"):
            torch.save(halve(torch.load(path, map_location="cpu", weights_only=True)), out / path.name)
        for path in (source / stage).glob("judge.safetensors"):
            shutil.copy(path, out / path.name)
        if (source / stage / "log.jsonl").exists():
            shutil.copy(source / stage / "log.jsonl", out / f"{stage}.jsonl")
        drawn = sorted((source / stage / "samples").glob("*.png"), key=lambda path: path.stat().st_mtime)
        for path in drawn[-1:]:
            shutil.copy(path, out / f"{stage}.png")
    text = source / "model" / "text_encoder"
    if text.exists():
        shutil.copytree(text, out / "text_encoder", dirs_exist_ok=True)
        with safe_open(text / "model.safetensors", "pt") as file:
            metadata = file.metadata()
        save_file(halve(load_file(text / "model.safetensors")), out / "text_encoder" / "model.safetensors", metadata=metadata)


def draw_curves(source, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    logs = [(stage, source / stage / "log.jsonl") for stage in ("vae", "decoder", "model", "judge") if (source / stage / "log.jsonl").exists()]
    figure, axes = plt.subplots(2, len(logs), figsize=(5 * len(logs), 6), squeeze=False)
    for column, (stage, log) in enumerate(logs):
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        steps = [line for line in lines if "event" not in line]
        for name in FLAT_CURVES:
            points = [(line["step"], line[name]) for line in steps if name in line]
            if points:
                axes[0 if name == "loss" else 1, column].plot(*zip(*points, strict=True), label=name)
        held_out = [(line["step"], line["held_out_loss"]) for line in lines if "held_out_loss" in line]
        if held_out:
            axes[0, column].plot(*zip(*held_out, strict=True), "o", label="held out")
        axes[0, column].set_title(stage)
        for axis in axes[:, column]:
            axis.legend()
            axis.set_xlabel("step")
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path(__file__).parent / "runs")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    source = arguments.runs / json.loads(arguments.config.read_text())["name"]
    arguments.out.mkdir(parents=True, exist_ok=True)
    copy_exports(source, arguments.out)
    draw_curves(source, arguments.out / "curves.png")


if __name__ == "__main__":
    main()
