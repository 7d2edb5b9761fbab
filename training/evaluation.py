# SPDX-License-Identifier: Apache-2.0
"""Held-out scenes as a folder that `nextscale eval` reads: PNG pictures and expectations.jsonl (docs/formats.md).

    python evaluation.py --config configs/text256.json --count 1000 --out held-out

Each line of expectations.jsonl says what NAME.png shows: `kind`, `sprites`, of pairs `relation`, and the background's `color`.
For composed scenes it also has the caption, as `prompt`, and `color` only where the caption tells it: the same file is what
`nextscale eval --expect` and `nextscale generate --prompts` generate from. For single scenes it has `class`.
"""

import argparse
import json
from pathlib import Path

from PIL import Image

from scenes import COLORS, HELD_OUT_SEED, KINDS, RELATIONS, SceneMaker

BATCH = 50


def expectation(scenes, row, names):
    """What one scene of a batch shows."""
    count = int(scenes.count[row])
    result = {"kind": KINDS[scenes.kind[row]], "sprites": [names[c] for c in scenes.classes[row, :count].tolist()]}
    if int(scenes.relation[row]) >= 0:
        result["relation"] = RELATIONS[scenes.relation[row]]
    return result | {"color": COLORS[scenes.color[row]]}


def with_caption(line, caption):
    # A caption that tells the colour ends with its background; no sprite is called so.
    if "background" not in caption:
        line = {key: value for key, value in line.items() if key != "color"}
    return {"prompt": caption} | line


def write_pixels(picture, path):
    """`picture` [3, side, side] in [0, 1]."""
    Image.fromarray((picture.permute(1, 2, 0) * 255).round().byte().numpy()).save(path)


def expectations(maker, scenes, seed, index):
    """What the scenes of a batch show, a list of lines; `index` are their numbers."""
    lines = [expectation(scenes, row, maker.names) for row in range(len(index))]
    if maker.recipe == "single":
        return [{"class": line["sprites"][0]} | line for line in lines]
    return [with_caption(line, text) for line, text in zip(lines, maker.captions(scenes, seed, index), strict=True)]


def write_lines(lines, path):
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def write_prompts(maker, seed, count, path):
    """The captions of `count` scenes and what they tell, without their pictures."""
    index = range(count)
    write_lines(expectations(maker, maker.describe(seed, index), seed, index), path)


def write_scenes(maker, seed, count, folder):
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for start in range(0, count, BATCH):
        scenes, pictures = maker.make(seed, start, min(BATCH, count - start))
        index = range(start, start + len(pictures))
        for number, picture, line in zip(index, pictures, expectations(maker, scenes, seed, index), strict=True):
            name = f"scene-{number:06}"
            write_pixels(picture, folder / f"{name}.png")
            lines.append({"name": name} | line)
    write_lines(lines, folder / "expectations.jsonl")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="training config; its scenes are drawn")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED, help=f"from {HELD_OUT_SEED} on")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    if arguments.seed < HELD_OUT_SEED:
        parser.error(f"--seed: got {arguments.seed}, wanted a held-out one, from {HELD_OUT_SEED} on")
    config = json.loads(arguments.config.read_text())
    write_scenes(SceneMaker(config["scenes"]), arguments.seed, arguments.count, arguments.out)


if __name__ == "__main__":
    main()
