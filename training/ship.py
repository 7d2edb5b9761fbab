# SPDX-License-Identifier: Apache-2.0
"""Makes the model folder that comes with Nextscale out of a finished run:

    python ship.py --config configs/NAME.json --nextscale ../build/apps/nextscale --out ../pretrained

OUT/NAME is converted in bf16, takes the config's "sampling" as its defaults, is calibrated, and gets the run's logs and curves in
OUT/NAME/training, with the whole VAE, whose encoder only training needs. A model that reads prompts also gets held-out captions,
prompts.jsonl, and others that it is calibrated on. With --judge runs/JUDGE/judge/judge.safetensors it also gets that judge and
its log.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import package
from evaluation import write_prompts
from scenes import HELD_OUT_SEED, SceneMaker
from stage import VAE_FILE

DEFAULTS = ("cfg", "tau", "top_k", "top_p")
CALIBRATION_PICTURES = 50
CALIBRATION_PROMPTS = "calibration-prompts.jsonl"
PROMPTS = {"prompts.jsonl": HELD_OUT_SEED, CALIBRATION_PROMPTS: HELD_OUT_SEED + 10}  # files and seeds of their captions
PROMPTS_EACH = 200


def run(*command):
    subprocess.run([str(word) for word in command], check=True)


def convert(config, files, nextscale, folder):
    command = [nextscale, "convert", "--family", config["family"], "--transformer", files / "model.pth", "--vae", files / "vae.pth"]
    if config["family"] == "var":
        names = files / "names.txt"
        names.write_text("".join(f"{name}\n" for name in SceneMaker(config["scenes"]).names))
        command += ["--class-names", names]
    else:
        command += ["--text-encoder", files / "text_encoder", "--size", config["size"]]
    run(*command, "-o", folder)


def set_defaults(config, folder):
    """Before calibration, which is bound to what config.json says."""
    path = folder / "config.json"
    settings = json.loads(path.read_text())
    settings["defaults"] |= {key: value for key, value in config["sampling"].items() if key in DEFAULTS}
    path.write_text(json.dumps(settings, indent=2) + "\n")


def add_prompts(config, folder):
    for name, seed in PROMPTS.items():
        write_prompts(SceneMaker(config["scenes"]), seed, PROMPTS_EACH, folder / name)


def calibrate(nextscale, folder):
    prompts = folder / CALIBRATION_PROMPTS
    run(nextscale, "calibrate", "-m", folder, "-n", CALIBRATION_PICTURES, *(["--prompts", prompts] if prompts.exists() else []))


def gather_logs(source, folder):
    folder.mkdir()
    for log in sorted(source.glob("*/log.jsonl")):
        (folder / f"{log.parent.name}.jsonl").write_text(log.read_text())
    package.draw_curves(source, folder / "curves.png")


def add_judge(judge, folder):
    shutil.copyfile(judge, folder / judge.name)
    shutil.copy(judge.with_name("log.jsonl"), folder / "training" / "judge.jsonl")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path(__file__).parent / "runs")
    parser.add_argument("--nextscale", type=Path, required=True, help="the built tool")
    parser.add_argument("--out", type=Path, required=True, help="where model folders lie")
    parser.add_argument("--judge", type=Path, help="of a finished run")
    arguments = parser.parse_args()
    config = json.loads(arguments.config.read_text())
    source, folder = arguments.runs / config["name"], arguments.out / config["name"]
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as files:
        package.copy_exports(source, Path(files))
        convert(config, Path(files), arguments.nextscale, folder)
        gather_logs(source, folder / "training")
        shutil.copy(Path(files) / VAE_FILE, folder / "training")
    set_defaults(config, folder)
    if config["family"] != "var":
        add_prompts(config, folder)
    calibrate(arguments.nextscale, folder)
    if arguments.judge:
        add_judge(arguments.judge, folder)


if __name__ == "__main__":
    main()
