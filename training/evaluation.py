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

from scenes import COLORS, HELD_OUT_SEED, KINDS, RELATIONS, SceneMaker, captions

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


def write_scenes(maker, seed, count, folder):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "expectations.jsonl", "w", encoding="utf-8") as lines:
        for start in range(0, count, BATCH):
            scenes, pictures = maker.make(seed, start, min(BATCH, count - start))
            texts = captions(scenes, maker.names, seed, range(start, start + len(pictures)))
            for row, picture in enumerate(pictures):
                name = f"scene-{start + row:06}"
                line = expectation(scenes, row, maker.names)
                line = {"class": line["sprites"][0]} | line if maker.recipe == "single" else with_caption(line, texts[row])
                write_pixels(picture, folder / f"{name}.png")
                lines.write(json.dumps({"name": name} | line, ensure_ascii=False) + "\n")


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
