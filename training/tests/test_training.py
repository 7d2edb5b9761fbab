# SPDX-License-Identifier: Apache-2.0
"""Every stage runs, stops, goes on, and exports what the modules load again."""

import ast
import json
import subprocess
import sys

import attention
import judge
import package
import pytest
import sprites
import stages
import torch
import tokenizer
import var
import windows
from conftest import TRAINING
from safetensors import safe_open
from safetensors.torch import load_file, save_file

needs_data = pytest.mark.skipif(
    not (sprites.DATA / "atlas.png").exists() or not tokenizer.MODEL.exists(), reason="run sprites.py and tokenizer.py first"
)


def train(config, stage, runs, *more):
    """The log of a stage; `config`: the name of one of ours, or the file of another."""
    file = TRAINING / f"configs/{config}.json" if isinstance(config, str) else config
    command = [sys.executable, "train.py", "--config", str(file), "--stage", stage, "--runs", str(runs), "--threads", "2", "--device", "cpu"]
    subprocess.run([*command, *more], cwd=TRAINING, check=True, capture_output=True, text=True)
    name = json.loads(file.read_text())["name"]
    return [json.loads(line) for line in (runs / name / stage / "log.jsonl").read_text().splitlines()]


@needs_data
@pytest.mark.parametrize("config", ("tiny-class", "tiny-text"))
def test_all_stages_run_and_export(config, tmp_path):
    for stage, exported in (("vae", "vae.pth"), ("text", "reader.pth"), ("model", "model.pth"), ("judge", "judge.safetensors")):
        if stage == "text" and config == "tiny-class":
            continue
        log = train(config, stage, tmp_path)
        assert log[0]["event"] == "start" and log[-1]["event"] == "evaluation"
        assert (tmp_path / config / stage / exported).exists()
        assert (tmp_path / config / stage / "samples" / "final.png").exists() or stage == "text"


@needs_data
def test_a_vae_without_encoder_and_a_model_of_more_classes_are_starts(tmp_path):
    train("tiny-class", "vae", tmp_path / "one")
    weights = torch.load(tmp_path / "one/tiny-class/vae/vae.pth", weights_only=True)
    save_file({name: value for name, value in weights.items() if not name.startswith("encoder.")}, tmp_path / "vae.safetensors")
    log = train("tiny-class", "vae", tmp_path / "two", "--start", str(tmp_path / "vae.safetensors"))
    assert log[-1]["event"] == "evaluation"
    train("tiny-class", "model", tmp_path / "two")
    more = torch.load(tmp_path / "two/tiny-class/model/model.pth", weights_only=True)
    more["class_emb.weight"] = more["class_emb.weight"].repeat(2, 1)
    (tmp_path / "more").mkdir()
    torch.save(more, tmp_path / "more/model.pth")
    (tmp_path / "two/tiny-class/model/checkpoint.pt").unlink()
    assert train("tiny-class", "model", tmp_path / "two", "--start", str(tmp_path / "more"))[-1]["event"] == "evaluation"


@needs_data
def test_an_export_may_be_a_mean_with_the_start(tmp_path):
    config = json.loads((TRAINING / "configs/tiny-class.json").read_text())
    for stage in ("vae", "model"):
        train("tiny-class", stage, tmp_path)
    start = tmp_path / "start"
    (tmp_path / "tiny-class/model").rename(start)
    config["train"]["model"]["start_share"] = 1.0
    (tmp_path / "mean.json").write_text(json.dumps(config))
    train(tmp_path / "mean.json", "model", tmp_path, "--start", str(start))
    first, mean = (torch.load(path / "model.pth", weights_only=True) for path in (start, tmp_path / "tiny-class/model"))
    assert all(torch.allclose(value, mean[name]) for name, value in first.items())


@needs_data
@pytest.mark.parametrize("config", ("tiny-class", "tiny-text"))
def test_a_decoder_goes_on_alone(config, tmp_path):
    train(config, "vae", tmp_path)
    train(config, "decoder", tmp_path, "--minutes", "0.0001")
    log = train(config, "decoder", tmp_path)
    assert "resume" in [line.get("event") for line in log] and log[-1]["event"] == "evaluation"
    package.copy_exports(tmp_path / config, tmp_path)
    paths = (tmp_path / config / "vae/vae.pth", tmp_path / config / "decoder/vae.pth", tmp_path / "vae.pth")
    before, after, shipped = (torch.load(path, weights_only=True) for path in paths)
    before, after, shipped = (weights.get("vae", weights) for weights in (before, after, shipped))
    assert all(torch.equal(value, shipped[name]) for name, value in package.halve(after).items())
    changed = {name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"decoder"} | {name.split(".")[0] for name in before if name.startswith("post_quant_conv")}
    sampled = subprocess.run([sys.executable, "sample.py", "--config", f"configs/{config}.json", "--runs", str(tmp_path), "--tokens",
                              "--device", "cpu", "--out", str(tmp_path / "tokens.png")],
                             cwd=TRAINING, check=True, capture_output=True, text=True)  # fmt: skip
    assert ast.literal_eval(sampled.stdout)["held_out_psnr"] == pytest.approx(log[-1]["held_out_psnr"], abs=0.01)


@needs_data
@pytest.mark.parametrize("config", ("tiny-class", "tiny-text"))
def test_requantizing_undisturbed_is_quantizing(config, tmp_path):
    settings = json.loads((TRAINING / f"configs/{config}.json").read_text())
    stage = stages.STAGES[settings["family"], "vae"](settings, torch.device("cpu"), tmp_path)
    with torch.no_grad():
        latent = stage.module.latent(stage.batch(0)[1])
        quantize = stage.quantizer.quantize if settings["family"] == "infinity" else stage.quantizer
        quantized = quantize(latent)[0]
        assert torch.allclose(stage.quantizer.requantize(latent, lambda residual: residual), quantized, atol=1e-5)
        assert not torch.allclose(stage.quantizer.requantize(latent, lambda residual: residual + torch.randn_like(residual)), quantized)


@needs_data
def test_a_held_text_encoder_stays_as_the_text_stage_left_it(tmp_path):
    config = json.loads((TRAINING / "configs/tiny-text.json").read_text())
    config["train"]["model"]["hold_text"] = True
    path = tmp_path / "held.json"
    path.write_text(json.dumps(config))
    for stage in ("vae", "text", "model"):
        train(path, stage, tmp_path)
    read = torch.load(tmp_path / config["name"] / "text/reader.pth", weights_only=True)
    drawn = torch.load(tmp_path / config["name"] / "model/model.pth", weights_only=True)
    encoder = load_file(tmp_path / config["name"] / "model/text_encoder/model.safetensors")
    assert all(torch.equal(value, read[f"text.{name}"]) for name, value in encoder.items())
    held = ("text_norm", "text_proj_for_sos")
    assert all(torch.equal(drawn[name], value) for name, value in read.items() if name.startswith(held))


@needs_data
def test_a_reader_comes_to_resemble_the_model_that_it_started_from(tmp_path):
    config = json.loads((TRAINING / "configs/tiny-text.json").read_text())
    for stage in ("vae", "model"):
        train("tiny-text", stage, tmp_path)
    unlikeness = []
    for number, weight in enumerate((1e-9, 30)):
        config["train"]["text"] |= {"resemble": weight, "steps": 60, "ema": 0.5}
        (tmp_path / "resemble.json").write_text(json.dumps(config))
        log = train(tmp_path / "resemble.json", "text", tmp_path / str(number), "--start", str(tmp_path / "tiny-text/model"))
        unlikeness.append(log[-1]["held_out_unlikeness"])
    assert unlikeness[1] < 0.5 * unlikeness[0]


@needs_data
@pytest.mark.parametrize(("config", "stage", "setting"), (("tiny-class", "model", "start_share"), ("tiny-text", "text", "resemble"),
                                                          ("tiny-text", "model", "hold_text")))  # fmt: skip
def test_settings_about_the_start_want_one(config, stage, setting, tmp_path):
    settings = json.loads((TRAINING / f"configs/{config}.json").read_text())
    if stage == "model":
        train(config, "vae", tmp_path)
    settings["train"][stage][setting] = True
    (tmp_path / "wanting.json").write_text(json.dumps(settings))
    with pytest.raises(subprocess.CalledProcessError) as refused:
        train(tmp_path / "wanting.json", stage, tmp_path)
    assert f"{setting}: got nothing to start from, wanted --start" in refused.value.stderr


def test_windows_read_the_tokens_that_they_say():
    grids, centres = [(1, 1), (2, 2), (4, 8)], torch.tensor([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]])
    reading = windows.read_windows(grids, 2, 0.5, centres)
    assert reading.sizes == [1, 4, 8]
    rows, columns = (reading.index[:, 5:] - 5) // 8, (reading.index[:, 5:] - 5) % 8
    assert rows.amin(1).tolist() == [0, 1, 2] and rows.amax(1).tolist() == [1, 2, 3]
    assert columns.amin(1).tolist() == [0, 2, 4] and columns.amax(1).tolist() == [3, 5, 7]
    tokens = torch.arange(37).expand(3, -1)
    assert torch.equal(reading.of(tokens), reading.index)
    assert torch.equal(reading.after_first(tokens[:, 1:, None])[..., 0], reading.index[:, 1:])


def test_windows_of_everything_are_everything():
    torch.manual_seed(1)
    model = var.VAR(2, 128, 2, 3, (1, 2, 3), 16, 4).eval()
    model.init_weights()
    labels, inputs = torch.tensor([0, 2]), torch.randn(2, 13, 4)
    reading = windows.read_windows([(1, 1), (2, 2), (3, 3)], 1, 1.0, torch.rand(2, 2))
    assert torch.allclose(model(labels, inputs), model(labels, inputs, reading), atol=1e-5)


def test_attention_on_the_cpu_is_the_fused_one():
    torch.manual_seed(1)
    q, k, v = (torch.randn(2, 2, 5, 8, requires_grad=True) for _ in range(3))
    mask = torch.rand(5, 5) < 0.7
    mask |= torch.eye(5, dtype=torch.bool)
    fused = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert torch.allclose(attention.attend(q, k, v, mask), fused, atol=1e-6)


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
    seen = judge.attributes(judge.sprites_of(heat), heat, found.color, found)
    assert all(all(each) for each in seen.values()) and all(seen.values())
