# SPDX-License-Identifier: Apache-2.0
"""What is trained here is what the engine runs: golden checkpoints give golden values in these modules."""

import json

import pytest
import torch
from bsq_vae import BitwiseQuantizer, BsqVae
from infinity import Infinity
from safetensors.torch import load_file
from t5 import T5Encoder, relative_bucket
from tokenizer import Tokenizer

CASES = ("tiny_a", "tiny_patchify", "tiny_batch", "tiny_sharded")
UNWANTED = ("decoder.", "lm_head.")


def transformer_weights(case):
    path = case.folder / case.config["files"]["transformer"]
    if path.is_dir():
        return {name: value for shard in sorted(path.glob("*.safetensors")) for name, value in load_file(shard).items()}
    return torch.load(path, weights_only=False, map_location="cpu")  # the pickle flavour of the released file


def load(case):
    config = case.config
    grids = [tuple(scale[1:]) for scale in config["schedule"]["scale_schedule"]]
    model = Infinity(**config["model"], grids=grids, rope_ref_hw=config["schedule"]["rope_ref_hw"])
    model.load_state_dict(transformer_weights(case))
    vae = BsqVae(**config["vae"])
    vae.load_state_dict(torch.load(case.folder / "vae.pth", weights_only=False, map_location="cpu")["vae"])
    quantizer = BitwiseQuantizer(config["vae"]["codebook_dim"], grids, bool(config["model"]["apply_spatial_patchify"]))
    return model.eval(), vae.eval(), quantizer


def padded_text(case, name):
    batch = case.config["inputs"]["batch"]
    texts = [case.expected[f"{name}.{row}" if batch > 1 else name] for row in range(batch)]
    length = max(len(text) for text in texts)
    mask = torch.tensor([[place < len(text) for place in range(length)] for text in texts])
    return torch.stack([torch.nn.functional.pad(text, (0, 0, 0, length - len(text))) for text in texts]), mask


@pytest.fixture(params=CASES)
def run(request, golden):
    case = golden("infinity", request.param)
    model, vae, quantizer = load(case)
    text, mask = padded_text(case, "text_features")
    has_negative = any(name.startswith("negative_text_features") for name in case.expected)
    negative = padded_text(case, "negative_text_features") if has_negative else None
    sampling, trace = case.config["sampling"], {}
    total = model.generate(quantizer, text, mask, sampling["cfg_list"], sampling["tau_list"], greedy=True, trace=trace, negative=negative)
    return case, model, vae, quantizer, (text, mask), trace, total


def test_generation_gives_the_golden_bits_logits_and_picture(run):
    case, model, vae, _, _, trace, total = run
    drop = (lambda x: x[0]) if case.config["inputs"]["batch"] == 1 else (lambda x: x)
    for scale in range(len(model.sizes)):
        assert torch.equal(drop(trace[f"bits.{scale}"]).to(torch.uint8), case.expected[f"bits.{scale}"])
        case.close(f"logits.{scale}", drop(trace[f"logits.{scale}"]), 5e-4)
        case.close(f"codes_summed.{scale}", drop(trace[f"codes_summed.{scale}"]), 1e-5)
    with torch.no_grad():
        case.close("image", drop(vae.picture(total)), 1e-4)


def test_the_parallel_pass_gives_the_logits_of_generation(run):
    _, model, _, quantizer, (text, mask), _, _ = run
    trace = {}
    model.generate(quantizer, text, mask, cfg=1.0, greedy=True, trace=trace)
    steps = len(model.sizes)
    inputs = [quantizer.to_tokens(quantizer.resize(trace[f"codes_summed.{scale}"], scale + 1)) for scale in range(steps - 1)]
    with torch.no_grad():
        scores = model(text, mask, torch.cat(inputs, 1))
        of_two = model(text, mask, inputs[0])
    wanted = torch.cat([trace[f"logits.{scale}"] for scale in range(steps)], 1)
    assert (scores - wanted).abs().max() < 3e-4
    assert of_two.shape[1] == sum(model.sizes[:2])
    assert (of_two - scores[:, : of_two.shape[1]]).abs().max() < 5e-5  # sums of another order


@pytest.mark.parametrize("patchify", (False, True))
def test_encoded_bits_lead_back_to_the_quantized_latent(patchify):
    quantizer = BitwiseQuantizer(8, [(1, 1), (2, 2), (4, 4)], patchify)
    latent = torch.randn(3, 8, *quantizer.cells[-1], generator=torch.Generator().manual_seed(2)) * 0.4
    quantized, _ = quantizer.quantize(latent)
    labels, inputs = quantizer.encode(latent)
    parts = labels.split([h * w for h, w in quantizer.grids], 1)
    total = sum(quantizer.resize(quantizer.codes(bits, scale), 2) for scale, bits in enumerate(parts))
    assert torch.allclose(total, quantized, atol=1e-5)
    assert inputs.shape[1] == labels.shape[1] - 1


def test_flipped_bits_are_mended_by_later_scales():
    quantizer = BitwiseQuantizer(8, [(1, 1), (2, 2), (4, 4), (4, 4), (4, 4)])
    latent = torch.randn(4, 8, 4, 4, generator=torch.Generator().manual_seed(3)) * 0.4
    plain, _ = quantizer.encode(latent)
    flipped, _ = quantizer.encode(latent, flip=0.3, generator=torch.Generator().manual_seed(4))
    assert torch.equal(plain[:, :1], flipped[:, :1])
    assert not torch.equal(plain[:, -16:], flipped[:, -16:])


@pytest.fixture
def t5(golden):
    case = golden("infinity", "t5_tiny")
    module = T5Encoder(**case.config)
    weights = {name: value for name, value in load_file(case.folder / "model.safetensors").items() if not name.startswith(UNWANTED)}
    module.load_state_dict(weights)
    return case, module.eval()


@pytest.mark.parametrize("name", ("short_padded", "long", "prompt"))
def test_the_text_encoder_gives_the_golden_features(t5, name):
    case, module = t5
    ids, mask = case.expected[f"{name}.input_ids"].long(), case.expected[f"{name}.attention_mask"].bool()
    with torch.no_grad():
        features = module(ids.view(1, -1), mask.view(1, -1))[0]
    wanted = case.expected[f"{name}.last_hidden_state"].view(features.shape)
    kept = mask.view(-1)
    assert (features[kept] - wanted[kept]).abs().max() < 2e-5


def test_relative_buckets_are_the_golden_ones(t5):
    case, _ = t5
    got = relative_bucket(case.expected["relative_bucket.distance"].long())
    assert torch.equal(got.int(), case.expected["relative_bucket.bucket"])


def test_tokenisation_is_the_golden_one(golden):
    case = golden("infinity", "t5_tiny")
    tokenizer = Tokenizer(case.folder / "spiece.model")
    record = json.loads((case.folder / "tokenization.json").read_text())
    for example in record["cases"]:
        assert tokenizer.ids(example["text"], 512) == example["ids"], example["text"]
        assert tokenizer.ids(example["text"], 16) == example["ids_max_length_16"], example["text"]
