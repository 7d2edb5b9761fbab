# SPDX-License-Identifier: Apache-2.0
"""Every stage runs, stops, goes on, and exports what the modules load again."""

import json
import subprocess
import sys

import judge
import pytest
import sprites
import torch
import tokenizer
from conftest import TRAINING
from safetensors import safe_open
from safetensors.torch import load_file

needs_data = pytest.mark.skipif(
    not (sprites.DATA / "atlas.png").exists() or not tokenizer.MODEL.exists(), reason="run sprites.py and tokenizer.py first"
)


def train(config, stage, runs, *more):
    command = [sys.executable, "train.py", "--config", f"configs/{config}.json", "--stage", stage, "--runs", str(runs), "--threads", "2", "--device", "cpu"]
    subprocess.run([*command, *more], cwd=TRAINING, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in (runs / config / stage / "log.jsonl").read_text().splitlines()]


@needs_data
@pytest.mark.parametrize("config", ("tiny-class", "tiny-text"))
def test_all_stages_run_and_export(config, tmp_path):
    for stage, exported in (("vae", "vae.pth"), ("model", "model.pth"), ("judge", "judge.safetensors")):
        log = train(config, stage, tmp_path)
        assert log[0]["event"] == "start" and log[-1]["event"] == "evaluation"
        assert (tmp_path / config / stage / exported).exists()
        assert (tmp_path / config / stage / "samples" / "final.png").exists()


@needs_data
def test_a_stopped_run_goes_on(tmp_path):
    train("tiny-class", "vae", tmp_path, "--minutes", "0.0001")
    log = train("tiny-class", "vae", tmp_path)
    assert [line["event"] for line in log if "event" in line] == ["start", "evaluation", "resume", "evaluation"]
    assert log[-1]["step"] == 12


def test_the_folded_judge_is_the_trained_one(tmp_path):
    torch.manual_seed(1)
    trained = judge.Judge(5)
    for norm in trained.norms:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias)
    trained.eval()
    judge.save_judge(trained, list("abcde"), tmp_path / "judge.safetensors")
    pictures = torch.rand(2, 3, 256, 256)
    with torch.no_grad():
        for got, wanted in zip(judge.run_folded(load_file(tmp_path / "judge.safetensors"), pictures), trained(pictures), strict=True):
            assert torch.allclose(got, wanted, atol=1e-3, rtol=1e-3)
    with safe_open(tmp_path / "judge.safetensors", "pt") as file:
        assert file.metadata()["classes"] == "a,b,c,d,e"


def test_perfect_heatmaps_are_judged_perfect():
    import scenes

    found = scenes.Scenes(
        kind=torch.tensor([0, 1, 2]), count=torch.tensor([1, 2, 3]),
        classes=torch.tensor([[2, -1, -1, -1], [0, 1, -1, -1], [3, 3, 3, -1]]),
        x=torch.tensor([[0.5, 0, 0, 0], [0.2, 0.8, 0, 0], [0.2, 0.5, 0.8, 0]]), y=torch.full((3, 4), 0.5), size=torch.full((3, 4), 0.3),
        relation=torch.tensor([-1, 0, -1]), color=torch.tensor([1, 2, 3]), pattern=torch.zeros(3, dtype=torch.long),
    )  # fmt: skip
    heat = torch.logit(judge.targets(found, 5).clamp(1e-4, 1 - 1e-4))
    seen = judge.attributes(judge.sprites_of(heat), found.color, found)
    assert all(all(each) for each in seen.values()) and all(seen.values())
