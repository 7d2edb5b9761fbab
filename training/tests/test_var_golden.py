# SPDX-License-Identifier: Apache-2.0
"""What is trained here is what the engine runs: golden checkpoints give golden values in these modules."""

import pytest
import torch
from var import VAR
from vqvae import VQVAE, phi_index

CASES = ("tiny_a", "tiny_schedule", "tiny_shared_aln")
OPTIONAL = {"attn_bias_for_masking"}


def load(case):
    model, vae_config = case.config["model"], case.config["vae"]
    sizes = dict(vocab_size=vae_config["vocab_size"], z_channels=vae_config["z_channels"], patch_nums=model["patch_nums"])
    keys = ("depth", "embed_dim", "num_heads", "num_classes", "shared_aln")
    var = VAR(**{key: model[key] for key in keys}, **sizes)
    vae = VQVAE(ch=vae_config["ch"], ch_mult=vae_config["ch_mult"], num_res_blocks=vae_config["num_res_blocks"], **sizes)
    wrong = var.load_state_dict(case.weights(case.config["files"]["var"]), strict=False)
    assert not wrong.missing_keys and set(wrong.unexpected_keys) <= OPTIONAL
    vae.load_state_dict(case.weights(case.config["files"]["vae"]))
    return var.eval(), vae.eval()


@pytest.fixture(params=CASES)
def run(request, golden):
    case = golden("var", request.param)
    var, vae = load(case)
    trace = {}
    labels = torch.tensor(case.config["input"]["class_labels"])
    latent = var.generate(vae.quantize, labels, case.config["input"]["cfg"], top_k=1, trace=trace)
    return case, var, vae, trace, latent


def test_generation_gives_the_golden_tokens_logits_and_picture(run):
    case, _, vae, trace, latent = run
    for scale in range(len(case.config["model"]["patch_nums"])):
        assert torch.equal(trace[f"tokens.{scale}"].int(), case.expected[f"tokens.{scale}"])
        case.close(f"logits.{scale}", trace[f"logits.{scale}"], 5e-4)
        case.close(f"f_hat.{scale}", trace[f"f_hat.{scale}"], 2e-5)
    with torch.no_grad():
        case.close("image", vae.picture(latent), 5e-5)


def test_the_parallel_pass_gives_the_logits_of_generation(run):
    case, var, vae, trace, _ = run
    steps = range(len(var.patch_nums))
    tokens = [trace[f"tokens.{scale}"] for scale in steps]
    labels = torch.tensor(case.config["input"]["class_labels"])
    with torch.no_grad():
        logits = var(labels, vae.quantize.next_inputs(tokens))
    wanted = torch.cat([trace[f"logits_raw.{scale}"][: len(labels)] for scale in steps], 1)
    assert (logits - wanted).abs().max() < 1e-4


def test_the_first_scales_alone_give_their_logits(run):
    _, var, vae, trace, _ = run
    tokens = [trace[f"tokens.{scale}"] for scale in range(len(var.patch_nums))]
    labels = torch.zeros(len(tokens[0]), dtype=torch.long)
    with torch.no_grad():
        whole = var(labels, vae.quantize.next_inputs(tokens))
        part = var(labels, vae.quantize.next_inputs(tokens[:2]))
    assert part.shape[1] == sum(var.sizes[:2])
    assert (part - whole[:, : part.shape[1]]).abs().max() < 1e-5


def test_residual_convolutions_are_chosen_as_in_the_golden_table(golden):
    case = golden("var", "ops")
    for scales in range(2, 17):
        assert [phi_index(scale, scales) for scale in range(scales)] == case.expected[f"phi_index.S{scales}"].tolist()


def test_encoding_the_latent_of_tokens_loses_little_after_all_scales(golden):
    case = golden("var", "tiny_schedule")
    _, vae = load(case)
    latent = torch.randn(1, case.config["vae"]["z_channels"], 16, 16, generator=torch.Generator().manual_seed(1))
    tokens = vae.quantize.encode(latent)
    assert [each.shape[1] for each in tokens] == [p * p for p in case.config["model"]["patch_nums"]]
    quantized, _, _, trained = vae.quantize(latent)
    assert all(torch.equal(one, other) for one, other in zip(tokens, trained, strict=True))
    assert torch.allclose(quantized, vae.quantize.latent_of(tokens), atol=1e-5)
