# SPDX-License-Identifier: Apache-2.0
"""The decoder of a finished VAE goes on alone: it learns to draw from codes that are a little wrong, as a transformer's are. Encoder and
codes are held, so that transformers trained on them stay what they are."""

import torch

from infinity_stages import InfinityVae
from stage import VAE_FILE, Stage, psnr, reconstruction_loss
from var_stages import VarVae


class DecoderStage:
    """Before a family's VAE stage among the bases. "noise": residuals are quantized with noise of up to this share of their deviation."""

    # VAE stages look after their codes here; those of a decoder stay.
    after_step, extra, load_extra = Stage.after_step, Stage.extra, Stage.load_extra

    def __init__(self, config, device, folder):
        super().__init__(config, device, folder)
        self.settings = config["train"]["decoder"]
        self.load(folder / "vae" / VAE_FILE)
        for name, value in self.module.named_parameters():
            value.requires_grad_(name.startswith(("decoder.", "post_quant_conv.")))

    def loss(self, step, _progress):
        _, wanted = self.batch(step)
        with torch.no_grad(), self.autocast():
            latent = self.disturbed(self.module.latent(wanted))
        with self.autocast():
            got = self.module.decode(latent)
        return reconstruction_loss(got.float(), wanted), {"psnr": psnr(got.detach(), wanted)}

    def disturbed(self, latent):
        amount = self.settings["noise"] * torch.rand(len(latent), 1, 1, 1, generator=self.generator)

        def disturb(rest):
            noise = torch.randn(rest.shape, generator=self.generator) * amount
            return rest + rest.std() * noise.to(rest.device)

        return self.quantizer.requantize(latent.float(), disturb)


class VarDecoder(DecoderStage, VarVae):
    def load(self, path):
        self.module.load_state_dict(torch.load(path, map_location=self.device, weights_only=True))
        self.quantized = True


class InfinityDecoder(DecoderStage, InfinityVae):
    pass
