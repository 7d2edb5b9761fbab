# SPDX-License-Identifier: Apache-2.0
"""Pictures as PNG grids."""

from PIL import Image


def save_grid(images, path, columns=8, margin=2):
    """`images` [N, 3, side, side] in [0, 1]."""
    import torch

    count, _, height, width = images.shape
    rows = -(-count // columns)
    sheet = torch.ones(3, rows * (height + margin), columns * (width + margin))
    for number, image in enumerate(images.detach().float().cpu().clamp(0, 1)):
        top, left = number // columns * (height + margin), number % columns * (width + margin)
        sheet[:, top : top + height, left : left + width] = image
    Image.fromarray((sheet * 255).byte().permute(1, 2, 0).numpy()).save(path)
