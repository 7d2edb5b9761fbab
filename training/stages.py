# SPDX-License-Identifier: Apache-2.0
"""What train.py trains: for every family and stage the module, its loss on a batch of fresh scenes, and its export."""

import contextlib

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import bsq_vae
import infinity
import judge
import pictures
import t5
import tokenizer
import var
import vqvae
from bsq_vae import BitwiseQuantizer, BsqVae
from disturbance import Disturbance
from infinity import Infinity
from scenes import HELD_OUT_SEED, SceneMaker, captions
from var import VAR
from vqvae import VQVAE

VAE_FILE, MODEL_FILE, TEXT_FOLDER, JUDGE_FILE = "vae.pth", "model.pth", "text_encoder", "judge.safetensors"
# The judge learns from scenes that no model saw: its seeds are the config's plus this.
JUDGE_SEED_OFFSET = 500_000
CACHED_TOGETHER = 64
REVIVE_EVERY = 25  # steps between looks for dead codes


def compile_blocks(module):
    """Compiles the repeated parts, each once, instead of the whole."""
    import torch._dynamo

    torch._dynamo.config.recompile_limit = 64
    for part in module.modules():
        if isinstance(part, (var.Block, infinity.Block, vqvae.ResBlock, bsq_vae.ResBlock)):
            part.compile()


def save_weights(weights, path, dtype=torch.float32, wrap=None):
    """A torch file as the families publish them: a flat mapping, below the key `wrap` if there is one."""
    flat = {key: value.detach().cpu().to(dtype if value.is_floating_point() else value.dtype).clone() for key, value in weights.items()}
    torch.save({wrap: flat} if wrap else flat, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def read_transformer(folder):
    """Of a model stage's folder, or of the engine's model folder."""
    converted = folder / "model.safetensors"
    return load_file(converted) if converted.exists() else torch.load(folder / MODEL_FILE, map_location="cpu", weights_only=True)


def read_text_encoder(folder):
    """Likewise."""
    converted = folder / "text_encoder.safetensors"
    return load_file(converted if converted.exists() else folder / TEXT_FOLDER / "model.safetensors")


def load_transformer(module, weights):
    """Every parameter; the engine's model folder leaves out buffers that are constants."""
    missing = set(module.load_state_dict(weights, strict=False).missing_keys)
    if missing := missing & {name for name, _ in module.named_parameters()}:
        raise SystemExit(f"transformer: got weights without {min(missing)} and {len(missing) - 1} more, wanted those of the config")


def scale_weights(sizes, power, device):
    """Weight of every token's loss, mean 1: a scale of n tokens counts as n ** (1 + power); 0 is every token alike."""
    weights = torch.cat([torch.full((size,), float(size) ** power) for size in sizes])
    return (weights / weights.mean()).to(device)


class Stage:
    """Defaults of a stage; `module` is what is trained."""

    def __init__(self, config, device, settings):
        self.config, self.device, self.settings = config, device, settings
        for turn in settings.get("turns", []):
            if turn.get("scales", 2) < 2:
                raise SystemExit(f"turns: got {turn['scales']} scales, wanted at least 2: a step predicts a scale from those before")
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

    def share_of(self, step):
        """Pictures of a step, and how many scales of them it reads (None: all). Steps go through "turns", most of which see the
        first scales only, of more pictures: these decide what is in a picture, at a fraction of the tokens."""
        turns = self.settings.get("turns", [self.settings])
        turn = turns[step % len(turns)]
        return turn["batch"], turn.get("scales")

    def encode_ahead(self):
        """The first "cached_scenes" in encoded parts, for machines where encoding costs more than the transformer."""
        parts = -(-self.settings.get("cached_scenes", 0) // CACHED_TOGETHER)
        return [self.encode(number, self.config["seed"], CACHED_TOGETHER) for number in range(parts)]

    def picks(self, count, size):
        """Which of `count` cached scenes a step reads."""
        return torch.randint(count, (size,), generator=self.generator)

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
        self.token_weights = scale_weights(self.module.sizes, self.settings.get("scale_power", 0.0), device)
        self.cache = None
        if parts := self.encode_ahead():
            labels, tokens = zip(*parts, strict=True)
            self.cache = torch.cat(labels), [torch.cat(each) for each in zip(*tokens, strict=True)]

    @torch.no_grad()
    def encode(self, step, seed, size):
        """Classes and tokens."""
        described, images = self.batch(step, seed, size)
        with self.autocast():
            latent = self.vae.latent(images)
        return described.classes[:, 0], self.vae.quantize.encode(latent)

    def examples(self, step):
        """Classes and tokens."""
        size, scales = self.share_of(step)
        if self.cache is None:
            labels, tokens = self.encode(step, self.config["seed"], size)
        else:
            labels, tokens = self.cache
            picks = self.picks(len(labels), size).to(self.device)
            labels, tokens = labels[picks], [each[picks] for each in tokens]
        return labels, tokens[:scales]

    def loss(self, step, _progress):
        labels, tokens = self.examples(step)
        wanted = torch.cat(tokens, 1)
        weights = self.token_weights[: wanted.shape[1]]
        with torch.no_grad():
            inputs = self.vae.quantize.next_inputs(tokens)
        with self.autocast():
            logits = self.module(labels, inputs)
        each = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view(wanted.shape)
        loss = (each * weights).mean() / weights.mean()
        right = (logits.detach().argmax(-1) == wanted).float()
        return loss, {"accuracy": right.mean(), "accuracy_last": right[:, -tokens[-1].shape[1] :].mean()}

    @torch.no_grad()
    def evaluate(self, path):
        labels, tokens = self.encode(0, HELD_OUT_SEED, 64)
        with self.autocast():
            logits = self.module(labels, self.vae.quantize.next_inputs(tokens))
        held_out = F.cross_entropy(logits.flatten(0, 1), torch.cat(tokens, 1).flatten()).item()
        names = self.subjects()
        count = min(60, 2 * len(names))
        pictures.save_grid(self.draw((names * 2)[:count], self.config["seed"]), path, columns=10)
        return {"held_out_loss": held_out}

    def load(self, folder):
        load_transformer(self.module, read_transformer(folder))

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


class InfinityVae(Stage):
    """First plain, then through signs; nothing to draw, the codes are fixed."""

    PLAIN = 0.05

    def __init__(self, config, device, _folder):
        super().__init__(config, device, config["train"]["vae"])
        self.module = BsqVae(**config["vae"]).to(device)
        self.quantizer = BitwiseQuantizer(config["vae"]["codebook_dim"], config["grids"], config.get("patchify", False))

    def loss(self, step, progress):
        _, wanted = self.batch(step)
        with self.autocast():
            latent = self.module.latent(wanted)
        quantized, extra = self.quantizer.quantize(latent)
        if progress >= self.PLAIN:
            latent = quantized
        with self.autocast():
            got = self.module.decode(latent)
        loss = reconstruction_loss(got.float(), wanted)
        return loss + 0.1 * extra, {"psnr": psnr(got.detach(), wanted), "quantization": extra.detach()}

    @torch.no_grad()
    def evaluate(self, path):
        _, wanted = self.batch(0, seed=HELD_OUT_SEED, size=32)
        with self.autocast():
            latent = self.module.latent(wanted)
        quantized, _ = self.quantizer.quantize(latent)
        with self.autocast():
            got = self.module.decode(quantized).float().clamp(-1, 1)
        rows = torch.stack((wanted, got), 1).flatten(0, 1)
        pictures.save_grid((rows + 1) / 2, path, columns=8)
        return {"held_out_psnr": psnr(got, wanted).item()}

    def export(self, folder):
        save_weights(self.module.state_dict(), folder / VAE_FILE, wrap="vae")

    def load(self, path):
        self.module.load_state_dict(torch.load(path, map_location=self.device, weights_only=True)["vae"])


class TextModel(torch.nn.Module):
    """Text encoder and transformer, trained together."""

    def __init__(self, text, image):
        super().__init__()
        self.text, self.image = text, image


class InfinityModel(Stage):
    def __init__(self, config, device, folder):
        super().__init__(config, device, config["train"]["model"])
        self.vae = BsqVae(**config["vae"]).to(device).eval().requires_grad_(False)
        self.vae.load_state_dict(torch.load(folder / "vae" / VAE_FILE, map_location=device, weights_only=True)["vae"])
        patchify = config.get("patchify", False)
        self.quantizer = BitwiseQuantizer(config["vae"]["codebook_dim"], config["grids"], patchify)
        self.tokenizer = tokenizer.Tokenizer()
        self.text_config = config["text"] | {"vocab_size": tokenizer.vocab_rows()}
        torch.manual_seed(config["seed"])
        text = t5.T5Encoder(**self.text_config)
        bits = config["vae"]["codebook_dim"] * (4 if patchify else 1)
        image = Infinity(**config["model"], text_channels=config["text"]["d_model"], token_bits=bits, grids=config["grids"])
        text.init_weights()
        image.init_weights()
        self.module = TextModel(text, image).to(device)
        self.token_weights = scale_weights(image.sizes, self.settings.get("scale_power", 0.0), device)
        self.flip = self.settings.get("flip", 0.2)
        self.describer = SceneMaker(config["scenes"])  # on the CPU, where captions are written: the device need not wait
        self.draws = torch.Generator(device).manual_seed(config["seed"])
        self.cache = None
        if parts := self.encode_ahead():
            texts, latents = zip(*parts, strict=True)
            self.cache = sum(texts, []), torch.cat(latents)

    def ids(self, texts):
        return self.tokenizer.batch(texts, self.config["model"]["text_maxlen"], self.device)

    @torch.no_grad()
    def encode(self, step, seed, size):
        """Captions and latents."""
        index = torch.arange(step * size, (step + 1) * size)
        texts = captions(self.describer.describe(seed, index), self.scenes.names, seed, index)
        _, images = self.batch(step, seed, size)
        with self.autocast():
            return texts, self.vae.latent(images)

    def examples(self, step):
        """Captions, bits and inputs."""
        size, scales = self.share_of(step)
        if self.cache is None:
            texts, latent = self.encode(step, self.config["seed"], size)
        else:
            texts, latent = self.cache
            picks = self.picks(len(texts), size)
            texts, latent = [texts[pick] for pick in picks.tolist()], latent[picks.to(self.device)]
        labels, inputs = self.quantizer.encode(latent, self.flip, self.draws)
        length = sum(self.module.image.sizes[:scales])
        return texts, labels[:, :length], inputs[:, : length - self.module.image.sizes[0]]

    def _bit_loss(self, texts, labels, inputs):
        ids, mask = self.ids(texts)
        with self.autocast():
            scores = self.module.image(self.module.text(ids, mask), mask, inputs)
        margin = scores[..., 1] - scores[..., 0]
        each = F.binary_cross_entropy_with_logits(margin, labels.float(), reduction="none").mean(-1)
        return each, ((margin > 0) == labels).float().mean(-1)

    def loss(self, step, _progress):
        each, right = self._bit_loss(*self.examples(step))
        weights = self.token_weights[: each.shape[1]]
        metrics = {"bits_right": right.detach().mean(), "bits_right_first": right[:, :21].detach().mean(),
                   "plain_loss": each.detach().mean()}  # fmt: skip
        return (each * weights).mean() / weights.mean(), metrics

    PROMPTS = (
        "a red apple left of a dog on a blue background", "a cat", "three frogs on a yellow background",
        "a pizza above a car on a white background", "a panda in the middle on a pink background",
        "an octopus and a rocket on a black background", "two bananas on a purple background", "a ghost below a crown",
        "a fox on a striped green background", "a guitar to the right of a rabbit", "four stars on a black background",
        "a penguin, a donut and a robot on a gray background",
    )  # fmt: skip

    def subjects(self):
        return list(self.PROMPTS)

    @torch.no_grad()
    def draw(self, texts, seed):
        """Pictures in [0, 1] of prompts."""
        ids, mask = self.ids(list(texts))
        generator = torch.Generator(self.device).manual_seed(seed)
        with self.autocast():
            features = self.module.text(ids, mask)
            latent = self.module.image.generate(self.quantizer, features, mask, generator=generator, **self.config.get("sampling", {}))
            return self.vae.picture(latent)

    @torch.no_grad()
    def evaluate(self, path):
        texts, latent = self.encode(0, HELD_OUT_SEED, 32)
        each, right = self._bit_loss(texts, *self.quantizer.encode(latent))
        pictures.save_grid(self.draw(self.PROMPTS * 2, self.config["seed"]), path, columns=6)
        return {"held_out_loss": each.mean().item(), "held_out_bits_right": right.mean().item()}

    def export(self, folder):
        save_weights(self.module.image.state_dict(), folder / MODEL_FILE)
        t5.save_encoder(self.module.text, self.text_config, folder / TEXT_FOLDER)
        (folder / TEXT_FOLDER / "spiece.model").write_bytes(tokenizer.MODEL.read_bytes())

    def load(self, folder):
        load_transformer(self.module.image, read_transformer(folder))
        self.module.text.load_state_dict(read_text_encoder(folder))


class JudgeStage(Stage):
    def __init__(self, config, device, _folder):
        super().__init__(config, device, config["train"]["judge"])
        self.module = judge.Judge(len(self.scenes.names)).to(device)
        self.disturb = Disturbance(config["seed"], device) if self.settings.get("disturb", True) else lambda images: images

    def loss(self, step, _progress):
        described, images = self.batch(step, seed=self.config["seed"] + JUDGE_SEED_OFFSET)
        images = self.disturb((images + 1) / 2)
        with self.autocast():
            heat, color, _ = self.module(images)
        centres = judge.focal_loss(heat, judge.targets(described, len(self.scenes.names)))
        colors = F.cross_entropy(color.float(), described.color)
        right = (color.detach().argmax(1) == described.color).float().mean()
        return centres + colors, {"centres": centres.detach(), "color_right": right}

    @torch.no_grad()
    def evaluate(self, path):
        _, images = self.scenes.make(HELD_OUT_SEED + 1, 0, 16)
        pictures.save_grid(images, path, columns=8)
        found = judge.accuracies(self.module, self.scenes, HELD_OUT_SEED + 1, self.settings.get("evaluated_scenes", 2000))
        return {f"held_out_{name}": value for name, value in found.items()}

    def export(self, folder):
        judge.save_judge(self.module, self.scenes.names, folder / JUDGE_FILE)


STAGES = {
    ("var", "vae"): VarVae,
    ("var", "model"): VarModel,
    ("infinity", "vae"): InfinityVae,
    ("infinity", "model"): InfinityModel,
    ("var", "judge"): JudgeStage,
    ("infinity", "judge"): JudgeStage,
}
