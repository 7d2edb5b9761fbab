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
from reader import CaptionReader
from scenes import HELD_OUT_SEED, SceneMaker, captions
from var import VAR
from vqvae import VQVAE
from windows import read_windows

VAE_FILE, MODEL_FILE, TEXT_FOLDER, JUDGE_FILE = "vae.pth", "model.pth", "text_encoder", "judge.safetensors"
READER_FILE = "reader.pth"
# The judge learns from scenes that no model saw: its seeds are the config's plus this.
JUDGE_SEED_OFFSET = 500_000
CACHED_TOGETHER = 64
REVIVE_EVERY = 25  # steps between looks for dead codes
FIRST_TOKENS = 21  # of the scales that decide what a picture shows, for the log


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
            if turn.get("scales", 2) < (1 if "window" in turn else 2):
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

    def turn(self, step):
        """What a step reads: "batch" pictures, of them the first "scales" (all, if not given), and with "window" also the others, of
        which a square of this share of the side. Steps go through "turns"."""
        turns = self.settings.get("turns", [self.settings])
        return turns[step % len(turns)]

    def windows(self, turn, grids, centres):
        """The Reading of a turn with a window somewhere about a sprite; else None. `centres` [B, SLOTS, 2], NaN where there is none."""
        if "window" not in turn:
            return None
        used = ~centres[..., 0].isnan()
        slot = (torch.rand(len(centres), generator=self.generator) * used.sum(1).cpu()).long()
        spread = turn["window"] * (torch.rand(len(centres), 2, generator=self.generator) - 0.5)
        return read_windows(grids, turn["scales"], turn["window"], centres[torch.arange(len(centres)), slot] + spread.to(centres.device))

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
    """First plain, then, with codes drawn from its latents, quantized. Started from a VAE, it keeps its codes, and in the plain part of
    the stage its decoder too, as what a new encoder is to fit: shipped VAEs have none."""

    PLAIN = 0.12  # of the stage

    def __init__(self, config, device, _folder):
        super().__init__(config, device, config["train"]["vae"])
        self.module = VQVAE(**config["vae"]).to(device)
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
        self.vae.load_state_dict(torch.load(folder / "vae" / VAE_FILE, map_location=device, weights_only=True))
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


class InfinityText(Stage):
    """What captions tell; scenes without their pictures."""

    def __init__(self, config, device, _folder):
        super().__init__(config, device, config["train"]["text"])
        self.tokenizer = tokenizer.Tokenizer()
        text_config = config["text"] | {"vocab_size": tokenizer.vocab_rows()}
        torch.manual_seed(config["seed"])
        self.module = CaptionReader(text_config, config["model"]["embed_dim"], len(self.scenes.names)).to(device)

    def _asked(self, seed, index):
        described = self.scenes.describe(seed, index)
        texts = captions(described, self.scenes.names, seed, index)
        ids, mask = self.tokenizer.batch(texts, self.config["model"]["text_maxlen"], self.device)
        with self.autocast():
            return self.module.loss(ids, mask, described, texts, len(self.scenes.names))

    def loss(self, step, _progress):
        size = self.settings["batch"]
        return self._asked(self.config["seed"], torch.arange(step * size, (step + 1) * size))

    @torch.no_grad()
    def evaluate(self, _path):
        _, right = self._asked(HELD_OUT_SEED, torch.arange(500))
        return {f"held_out_{name}": value.item() for name, value in right.items()}

    def export(self, folder):
        save_weights(self.module.state_dict(), folder / READER_FILE)


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
        self.reader = folder / "text" / READER_FILE
        self._take_reader()
        self.token_weights = scale_weights(image.sizes, self.settings.get("scale_power", 0.0), device)
        self.flip = self.settings.get("flip", 0.2)
        self.describer = SceneMaker(config["scenes"])  # on the CPU, where captions are written: the device need not wait
        self.draws = torch.Generator(device).manual_seed(config["seed"])
        self.cache = None
        if parts := self.encode_ahead():
            texts, centres, latents = zip(*parts, strict=True)
            self.cache = sum(texts, []), torch.cat(centres), torch.cat(latents)

    def ids(self, texts):
        return self.tokenizer.batch(texts, self.config["model"]["text_maxlen"], self.device)

    @torch.no_grad()
    def encode(self, step, seed, size):
        """Captions, places and latents."""
        index = torch.arange(step * size, (step + 1) * size)
        described = self.describer.describe(seed, index)
        texts = captions(described, self.scenes.names, seed, index)
        _, images = self.batch(step, seed, size)
        with self.autocast():
            return texts, described.centres().to(self.device), self.vae.latent(images)

    def examples(self, turn, step):
        """Captions, places and latents."""
        if self.cache is None:
            return self.encode(step, self.config["seed"], turn["batch"])
        texts, centres, latent = self.cache
        picks = self.picks(len(texts), turn["batch"])
        there = picks.to(self.device)
        return [texts[pick] for pick in picks.tolist()], centres[there], latent[there]

    def _bit_loss(self, texts, labels, inputs, reading=None):
        ids, mask = self.ids(texts)
        with self.autocast():
            scores = self.module.image(self.module.text(ids, mask), mask, inputs, reading)
        margin = scores[..., 1] - scores[..., 0]
        each = F.binary_cross_entropy_with_logits(margin, labels.float(), reduction="none").mean(-1)
        return each, ((margin > 0) == labels).float().mean(-1)

    def loss(self, step, _progress):
        turn = self.turn(step)
        texts, centres, latent = self.examples(turn, step)
        labels, inputs = self.quantizer.encode(latent, self.flip, self.draws)
        weights = self.token_weights[None]
        if reading := self.windows(turn, self.module.image.grids, centres):
            labels, weights, inputs = reading.of(labels), reading.of(weights), reading.after_first(inputs)
        else:
            length = sum(self.module.image.sizes[: turn.get("scales")])
            labels, weights, inputs = labels[:, :length], weights[:, :length], inputs[:, : length - 1]
        each, right = self._bit_loss(texts, labels, inputs, reading)
        metrics = {"bits_right": right.detach().mean(), "bits_right_first": right[:, :FIRST_TOKENS].detach().mean(),
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
        texts, _, latent = self.encode(0, HELD_OUT_SEED, 32)
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
        self._take_reader()

    def _take_reader(self):
        """What the text stage learned, if there was one."""
        if not self.reader.exists():
            return
        weights = torch.load(self.reader, map_location=self.device, weights_only=True)
        self.module.text.load_state_dict({name.removeprefix("text."): weights[name] for name in weights if name.startswith("text.")})
        self.module.image.load_state_dict({name: weights[name] for name in weights if name.startswith("text_")}, strict=False)


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
    ("infinity", "text"): InfinityText,
    ("infinity", "model"): InfinityModel,
    ("var", "judge"): JudgeStage,
    ("infinity", "judge"): JudgeStage,
}
