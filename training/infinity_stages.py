# SPDX-License-Identifier: Apache-2.0
"""Stages of the Infinity family: the BSQ VAE, the reading of captions, the text-to-image transformer."""

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import pictures
import t5
import tokenizer
from bsq_vae import BitwiseQuantizer, BsqVae
from infinity import Infinity
from reader import CaptionReader
from scenes import HELD_OUT_SEED, SceneMaker
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

TEXT_FOLDER = "text_encoder"
READER_FILE = "reader.pth"
CONDITIONS = ("text_", "cfg_uncond")  # begin the names of what TextConditions holds


def read_text_encoder(folder):
    """Of a model stage's folder, or of the engine's model folder."""
    converted = folder / "text_encoder.safetensors"
    return load_file(converted if converted.exists() else folder / TEXT_FOLDER / "model.safetensors")


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
    """What captions tell; scenes without their pictures. Which sprite fills which quadrant is asked later: asked from the start, before
    the order of words is understood, it keeps the reader from understanding it. With "resemble", a weight, the reader is brought at last
    as near to the model that it started from as its answers allow, so that the transformer of that model can go on with it."""

    ASK_QUADRANTS, RESEMBLE = 0.5, 0.6  # of the stage

    def __init__(self, config, device, _folder):
        super().__init__(config, device, config["train"]["text"])
        self.tokenizer = tokenizer.Tokenizer()
        torch.manual_seed(config["seed"])
        self.module, self.model = self._reader(), None

    def _reader(self):
        sizes = self.config["model"]
        text_config = self.config["text"] | {"vocab_size": tokenizer.vocab_rows()}
        return CaptionReader(text_config, sizes["embed_dim"], sizes["text_maxlen"], len(self.scenes.names)).to(self.device)

    def _loss(self, seed, index, progress):
        described = self.scenes.describe(seed, index)
        texts = self.scenes.captions(described, seed, index)
        ids, mask = self.tokenizer.batch(texts, self.config["model"]["text_maxlen"], self.device)
        with self.autocast():
            told = self.module(ids, mask)
            start, names = told[0], self.scenes.names
            loss, metrics = self.module.answer(start, described, texts, len(names), progress >= self.ASK_QUADRANTS)
            if self.model and progress >= self.RESEMBLE:
                metrics["unlikeness"] = self.model.unlikeness(told, ids, mask)
                loss = loss + self.settings["resemble"] * metrics["unlikeness"]
        return loss, {name: value.detach() for name, value in metrics.items()}

    def loss(self, step, progress):
        size = self.settings["batch"]
        return self._loss(self.config["seed"], torch.arange(step * size, (step + 1) * size), progress)

    @torch.no_grad()
    def evaluate(self, _path):
        _, metrics = self._loss(HELD_OUT_SEED, torch.arange(500), 1.0)
        return {f"held_out_{name}": value.item() for name, value in metrics.items()}

    def export(self, folder):
        save_weights(self.module.state_dict(), folder / READER_FILE)

    def needs_start(self):
        return "resemble" if self.settings.get("resemble") else super().needs_start()

    def load(self, folder):
        """Of a model: words and what is made of their features. Attention stays fresh: one that overlooks the order of words hardly
        learns to see it."""
        words = read_text_encoder(folder)
        conditions = {name: value for name, value in read_transformer(folder).items() if name.startswith(CONDITIONS)}
        if self.settings.get("resemble"):
            self.model = self._reader().requires_grad_(False)
            self.model.text.load_state_dict(words)
            self.model.load_state_dict(conditions, strict=False)
        fresh = {name: value for name, value in words.items() if ".SelfAttention." not in name}
        self.module.text.load_state_dict(fresh, strict=False)
        self.module.load_state_dict(conditions, strict=False)


class TextModel(torch.nn.Module):
    """Text encoder and transformer."""

    def __init__(self, text, image):
        super().__init__()
        self.text, self.image = text, image


class InfinityModel(Stage):
    def __init__(self, config, device, folder):
        super().__init__(config, device, config["train"]["model"])
        self.vae = BsqVae(**config["vae"]).to(device).eval().requires_grad_(False)
        self.vae.load_state_dict(torch.load(finished_vae(folder), map_location=device, weights_only=True)["vae"])
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
        if self.settings.get("hold_text"):
            for part in (text, image.text_norm, image.text_proj_for_sos):
                part.requires_grad_(False)
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
        texts = self.scenes.captions(described, seed, index)
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

    def needs_start(self):
        held = self.settings.get("hold_text") and not self.reader.exists()
        return "hold_text" if held else super().needs_start()

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
        self.module.image.load_state_dict({name: weights[name] for name in weights if name.startswith(CONDITIONS)}, strict=False)
