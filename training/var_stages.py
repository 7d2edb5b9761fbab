# SPDX-License-Identifier: Apache-2.0
"""Stages of the VAR family: the VQVAE and the class-conditional transformer."""

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import pictures
from scenes import HELD_OUT_SEED
from stage import (
    FIRST_TOKENS,
    MODEL_FILE,
    VAE_FILE,
    Stage,
    finished_vae,
    load_transformer,
    psnr,
    read_transformer,
    reconstruction_loss,
    save_weights,
    scale_weights,
)
from var import VAR
from vqvae import VQVAE

REVIVE_EVERY = 25  # steps between looks for dead codes


class VarVae(Stage):
    """First plain, then, with codes drawn from its latents, quantized. Started from a VAE, it keeps its codes, and in the plain part of
    the stage its decoder too, as what a new encoder is to fit: shipped VAEs have none."""

    PLAIN = 0.12  # of the stage

    def __init__(self, config, device, _folder):
        super().__init__(config, device, config["train"]["vae"])
        self.module = VQVAE(**config["vae"]).to(device)
        self.quantizer = self.module.quantize
        self.quantized = self.has_codes = False
        self.residuals = None

    def loss(self, step, progress):
        _, wanted = self.batch(step)
        with self.autocast():
            latent = self.module.latent(wanted)
        if not self.quantized and progress >= self.PLAIN:
            self._start_quantizing(step)
        extra = 1e-3 * latent.square().mean()
        metrics = {}
        if self.quantized:
            latent, quantization, self.residuals, tokens = self.module.quantize(latent)
            self.module.quantize.count_hits(tokens)
            extra = extra + quantization
            metrics["quantization"] = quantization.detach()
        with self.autocast():
            got = self.module.decode(latent)
        loss = reconstruction_loss(got.float(), wanted)
        metrics["psnr"] = psnr(got.detach(), wanted)
        return loss + extra, metrics

    def load(self, path):
        weights = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
        missing = self.module.load_state_dict(weights, strict=False).missing_keys
        needed = [name for name in missing if not name.startswith(("encoder.", "quant_conv.", "quantize.ema_vocab"))]
        if needed:
            raise SystemExit(f"{path}: got no {needed[0]}, wanted a VAE of this config, with or without its encoder")
        self.module.quantize.ema_vocab_hit_SV.fill_(1.0)
        self.has_codes = True
        self._hold_decoder(True)

    def _hold_decoder(self, held):
        for part in (self.module.decoder, self.module.post_quant_conv, self.module.quantize):
            part.requires_grad_(not held)

    @torch.no_grad()
    def _start_quantizing(self, step):
        if self.has_codes:
            self._hold_decoder(False)
            self.quantized = True
            return
        rounds = max(1, 512 // self.settings["batch"])
        with self.autocast():
            latents = torch.cat([self.module.latent(self.batch(step + 1 + i)[1]) for i in range(rounds)])
        self.module.quantize.draw_codebook(latents, self.generator)
        self.module.quantize.ema_vocab_hit_SV.fill_(1.0)
        self.quantized = True

    def after_step(self, step, progress, ema):
        if not self.quantized or step % REVIVE_EVERY or progress > 0.6:
            return
        moved = self.module.quantize.revive_codes(self.residuals, self.generator)
        names = [name for name, _ in self.module.named_parameters()]
        weight = self.module.quantize.embedding.weight
        ema.weights[names.index("quantize.embedding.weight")][moved] = weight.detach()[moved]

    def extra(self):
        return {"quantized": self.quantized, "has_codes": self.has_codes}

    def load_extra(self, extra):
        self.quantized, self.has_codes = extra["quantized"], extra["has_codes"]
        self._hold_decoder(self.has_codes and not self.quantized)

    @torch.no_grad()
    def evaluate(self, path):
        _, wanted = self.batch(0, seed=HELD_OUT_SEED, size=32)
        with self.autocast():
            latent = self.module.latent(wanted)
        if self.quantized:
            latent = self.module.quantize(latent)[0]
        with self.autocast():
            got = self.module.decode(latent).float().clamp(-1, 1)
        rows = torch.stack((wanted, got), 1).flatten(0, 1)
        pictures.save_grid((rows + 1) / 2, path, columns=8)
        used = (self.module.quantize.ema_vocab_hit_SV.amax(0) > 0.03).sum().item()
        return {"held_out_psnr": psnr(got, wanted).item(), "codes_used": used}

    def export(self, folder):
        save_weights(self.module.state_dict(), folder / VAE_FILE)


class VarModel(Stage):
    def __init__(self, config, device, folder):
        super().__init__(config, device, config["train"]["model"])
        self.vae = VQVAE(**config["vae"]).to(device).eval().requires_grad_(False)
        self.vae.load_state_dict(torch.load(finished_vae(folder), map_location=device, weights_only=True))
        torch.manual_seed(config["seed"])
        sizes = {key: config["vae"][key] for key in ("vocab_size", "z_channels", "patch_nums")}
        self.module = VAR(num_classes=len(self.scenes.names), **config["model"], **sizes)
        self.module.init_weights()
        self.module.to(device)
        self.token_weights = scale_weights(self.module.sizes, self.settings.get("scale_power", 0.0), device)
        self.cache = None
        if parts := self.encode_ahead():
            labels, centres, tokens = zip(*parts, strict=True)
            self.cache = torch.cat(labels), torch.cat(centres), [torch.cat(each) for each in zip(*tokens, strict=True)]

    @torch.no_grad()
    def encode(self, step, seed, size):
        """Classes, places and tokens."""
        described, images = self.batch(step, seed, size)
        with self.autocast():
            latent = self.vae.latent(images)
        return described.classes[:, 0], described.centres(), self.vae.quantize.encode(latent)

    def examples(self, turn, step):
        """Classes, places and tokens of the scales read."""
        if self.cache is None:
            labels, centres, tokens = self.encode(step, self.config["seed"], turn["batch"])
        else:
            labels, centres, tokens = self.cache
            picks = self.picks(len(labels), turn["batch"]).to(self.device)
            labels, centres, tokens = labels[picks], centres[picks], [each[picks] for each in tokens]
        return labels, centres, tokens if "window" in turn else tokens[: turn.get("scales")]

    def loss(self, step, _progress):
        turn = self.turn(step)
        labels, centres, tokens = self.examples(turn, step)
        wanted = torch.cat(tokens, 1)
        weights = self.token_weights[None, : wanted.shape[1]]
        with torch.no_grad():
            inputs = self.vae.quantize.next_inputs(tokens)
        if reading := self.windows(turn, [(p, p) for p in self.module.patch_nums], centres):
            wanted, weights, inputs = reading.of(wanted), reading.of(weights), reading.after_first(inputs)
        with self.autocast():
            logits = self.module(labels, inputs, reading)
        each = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view(wanted.shape)
        loss = (each * weights).mean() / weights.mean()
        right = (logits.detach().argmax(-1) == wanted).float()
        return loss, {"accuracy": right.mean(), "accuracy_first": right[:, :FIRST_TOKENS].mean(), "plain_loss": each.detach().mean()}

    @torch.no_grad()
    def evaluate(self, path):
        labels, _, tokens = self.encode(0, HELD_OUT_SEED, 64)
        with self.autocast():
            logits = self.module(labels, self.vae.quantize.next_inputs(tokens))
        held_out = F.cross_entropy(logits.flatten(0, 1), torch.cat(tokens, 1).flatten()).item()
        names = self.subjects()
        count = min(60, 2 * len(names))
        pictures.save_grid(self.draw((names * 2)[:count], self.config["seed"]), path, columns=10)
        return {"held_out_loss": held_out}

    def load(self, folder):
        """Also of a model of more classes, of which these are the first."""
        weights = read_transformer(folder)
        classes = weights["class_emb.weight"]
        if len(classes) > self.module.num_classes + 1:
            weights["class_emb.weight"] = torch.cat((classes[: self.module.num_classes], classes[-1:]))
        load_transformer(self.module, weights)

    def subjects(self):
        return list(self.scenes.names)

    @torch.no_grad()
    def draw(self, names, seed):
        """Pictures in [0, 1] of classes."""
        labels = torch.tensor([self.scenes.names.index(name) for name in names], device=self.device)
        generator = torch.Generator(self.device).manual_seed(seed)
        sampling = self.config.get("sampling", {"cfg": 1.5, "top_k": 0, "top_p": 0.95})
        with self.autocast():
            latent = self.module.generate(self.vae.quantize, labels, generator=generator, **sampling)
            return self.vae.picture(latent)

    def export(self, folder):
        save_weights(self.module.state_dict(), folder / MODEL_FILE)
