# SPDX-License-Identifier: Apache-2.0
"""What train.py trains: for every family and stage the module, its loss on a batch of fresh scenes, and its export."""

import contextlib

import torch
import torch.nn.functional as F

import pictures
from scenes import HELD_OUT_SEED, SceneMaker
from var import VAR, Block
from vqvae import ResBlock, VQVAE

VAE_FILE, MODEL_FILE = "vae.pth", "model.pth"
REVIVE_EVERY = 25  # steps between looks for dead codes


def compile_blocks(module):
    """Compiles the repeated parts, each once, instead of the whole."""
    import torch._dynamo

    torch._dynamo.config.recompile_limit = 64
    for part in module.modules():
        if isinstance(part, (Block, ResBlock)):
            part.compile()


def save_weights(weights, path, dtype=torch.float32):
    """A torch file as the families publish them: a flat mapping, floats in `dtype`."""
    flat = {key: value.detach().cpu().to(dtype if value.is_floating_point() else value.dtype).clone() for key, value in weights.items()}
    torch.save(flat, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


class Stage:
    """Defaults of a stage; `module` is what is trained."""

    def __init__(self, config, device, settings):
        self.config, self.device, self.settings = config, device, settings
        if config["seed"] >= HELD_OUT_SEED:
            raise SystemExit(f"seed {config['seed']} is kept for evaluation, wanted one below {HELD_OUT_SEED}")
        self.scenes = SceneMaker(config["scenes"], device)
        self.generator = torch.Generator().manual_seed(config["seed"])

    def autocast(self):
        if not self.settings.get("bf16", True):
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def batch(self, step, seed=None, size=None):
        """Scenes and pictures in [-1, 1] of a training step."""
        size = size or self.settings["batch"]
        described, images = self.scenes.make(self.config["seed"] if seed is None else seed, step * size, size)
        return described, images * 2 - 1

    def after_step(self, step, progress, ema):
        pass

    def extra(self):
        return {}

    def load_extra(self, extra):
        pass

    def load(self, path):
        self.module.load_state_dict(torch.load(path, map_location=self.device, weights_only=True), strict=False)


def reconstruction_loss(got, wanted):
    """Absolute error of pixels, and of their differences to neighbours, which keeps edges sharp."""
    down = F.l1_loss(got[:, :, 1:] - got[:, :, :-1], wanted[:, :, 1:] - wanted[:, :, :-1])
    across = F.l1_loss(got[..., 1:] - got[..., :-1], wanted[..., 1:] - wanted[..., :-1])
    return F.l1_loss(got, wanted) + 0.5 * F.mse_loss(got, wanted) + down + across


def psnr(got, wanted):
    """Of pictures in [-1, 1], mean over the batch."""
    error = (got.float().clamp(-1, 1) - wanted).square().flatten(1).mean(1) / 4
    return (-10 * error.clamp(min=1e-10).log10()).mean()


class VarVae(Stage):
    """First plain, then, with codes drawn from its latents, quantized."""

    PLAIN = 0.12  # of the stage

    def __init__(self, config, device, _folder):
        super().__init__(config, device, config["train"]["vae"])
        self.module = VQVAE(**config["vae"]).to(device)
        self.quantized = False
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

    @torch.no_grad()
    def _start_quantizing(self, step):
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
        return {"quantized": self.quantized}

    def load_extra(self, extra):
        self.quantized = extra["quantized"]

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
        self.vae.load_state_dict(torch.load(folder / "vae" / VAE_FILE, map_location=device, weights_only=True))
        torch.manual_seed(config["seed"])
        sizes = {key: config["vae"][key] for key in ("vocab_size", "z_channels", "patch_nums")}
        self.module = VAR(num_classes=len(self.scenes.names), **config["model"], **sizes)
        self.module.init_weights()
        self.module.to(device)
        self.cache = self._tokenise_ahead(self.settings.get("cached_scenes", 0))

    @torch.no_grad()
    def _encode(self, step, seed=None, size=None):
        described, images = self.batch(step, seed, size)
        with self.autocast():
            latent = self.vae.latent(images)
        return described.classes[:, 0], self.vae.quantize.encode(latent)

    def _tokenise_ahead(self, count):
        """Tokens of the first scenes, for machines where encoding costs more than the transformer."""
        if not count:
            return None
        size = 64
        parts = [self._encode(number, size=size) for number in range(-(-count // size))]
        labels = torch.cat([part[0] for part in parts])
        return labels, [torch.cat(each) for each in zip(*(part[1] for part in parts), strict=True)]

    def examples(self, step):
        if self.cache is None:
            return self._encode(step)
        labels, tokens = self.cache
        picks = torch.randint(len(labels), (self.settings["batch"],), generator=self.generator).to(self.device)
        return labels[picks], [each[picks] for each in tokens]

    def loss(self, step, _progress):
        labels, tokens = self.examples(step)
        wanted = torch.cat(tokens, 1)
        with torch.no_grad():
            inputs = self.vae.quantize.next_inputs(tokens)
        with self.autocast():
            logits = self.module(labels, inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten())
        right = (logits.detach().argmax(-1) == wanted).float()
        last = self.module.sizes[-1]
        return loss, {"accuracy": right.mean(), "accuracy_last": right[:, -last:].mean()}

    @torch.no_grad()
    def evaluate(self, path):
        labels, tokens = self._encode(0, seed=HELD_OUT_SEED, size=64)
        with self.autocast():
            logits = self.module(labels, self.vae.quantize.next_inputs(tokens))
        held_out = F.cross_entropy(logits.flatten(0, 1), torch.cat(tokens, 1).flatten()).item()
        count = min(40, 2 * len(self.scenes.names))
        chosen = torch.arange(count, device=self.device) % len(self.scenes.names)
        generator = torch.Generator(self.device).manual_seed(self.config["seed"])
        sampling = self.config.get("sampling", {"cfg": 1.5, "top_k": 0, "top_p": 0.95})
        with self.autocast():
            latent = self.module.generate(self.vae.quantize, chosen, generator=generator, **sampling)
            images = self.vae.picture(latent)
        pictures.save_grid(images, path, columns=10)
        return {"held_out_loss": held_out}

    def export(self, folder):
        save_weights(self.module.state_dict(), folder / MODEL_FILE)


STAGES = {("var", "vae"): VarVae, ("var", "model"): VarModel}
