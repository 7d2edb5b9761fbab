# SPDX-License-Identifier: Apache-2.0
"""What the judge's training does to drawn scenes: what people still recognise in pictures of small models, the judge is to
recognise too."""

import torch
import torch.nn.functional as F


class Disturbance:
    """Called with pictures [B, 3, side, side] in [0, 1], gives such pictures: of four one as drawn, one coarse, one bent, one both and
    noisy."""

    def __init__(self, seed, device):
        self.device = device
        self.noise = torch.Generator(device).manual_seed(seed)

    def __call__(self, images):
        images = images.clone()
        images[1::4] = self._coarse(images[1::4])
        images[2::4] = self._bent(images[2::4])
        both = self._bent(self._coarse(images[3::4]))
        images[3::4] = (both + 0.04 * self._normal(both.shape) + 0.1 * self._smooth(both.shape)).clamp(0, 1)
        return images

    def _normal(self, shape):
        return torch.randn(shape, generator=self.noise, device=self.device)

    def _smooth(self, shape):
        """Noise of wavelengths from a fifth of the picture on."""
        return F.interpolate(self._normal((*shape[:2], 6, 6)), size=shape[2:], mode="bicubic", align_corners=True)

    def _coarse(self, images):
        """Shrunk to a half or a quarter, or between, and enlarged again."""
        sides = [images.shape[-1] // part for part in (2, 3, 4)]
        side = sides[int(torch.randint(len(sides), (1,), generator=self.noise, device=self.device))]
        return F.interpolate(F.interpolate(images, size=(side, side), mode="area"), size=images.shape[2:], mode="bilinear")

    def _bent(self, images):
        """Every place moved by up to about a tenth of the picture, in some pictures hardly."""
        strength = 0.08 * torch.rand(len(images), 1, 1, 1, generator=self.noise, device=self.device)
        shift = strength * self._smooth((len(images), 2, *images.shape[2:]))
        straight = torch.eye(2, 3, device=self.device).expand(len(images), 2, 3)
        places = F.affine_grid(straight, images.shape, align_corners=False) + shift.movedim(1, -1)
        return F.grid_sample(images, places, padding_mode="border", align_corners=False)
