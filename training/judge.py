# SPDX-License-Identifier: Apache-2.0
"""The judge: a small detector that says what a picture shows, trained on other scenes than the models.

Plain layers only, so that any engine can run it: 3x3 convolutions (batch norm folded on export), ReLU, 2x2 max pooling,
global average pooling, linear. Input: RGB in [0, 1], shrunk to 128 x 128 by averaging areas.

  trunk    conv 3->32, pool, conv 32->64, pool, conv 64->96, conv 96->128, pool, conv 128->192, conv 192->192, conv 192->192
           every convolution padded by one and followed by ReLU; leaves [192, 16, 16]
  heatmap  conv 1x1 192->N: for every class the score (before the sigmoid) that a sprite's centre lies in this cell
  features mean of the trunk over its cells, [192]: what distances between sets of pictures are computed on
  color    linear 192->10 on the features

A sprite is a cell whose score is above THRESHOLD, the largest of its 3x3 neighbourhood over all classes; its class is the class of that
score, its place the cell's centre. Presence, count and relation follow from the list of sprites.

Exported by `train.py --stage judge` as judge.safetensors: `trunk.0.weight` [out, in, 3, 3], `trunk.0.bias`, ... in order,
`heatmap.weight` [N, 192, 1, 1], `heatmap.bias`, `color.weight` [10, 192], `color.bias`, all f32; the metadata holds `format`
"nextscale-judge", `version`, `classes`, `colors`, `relations` (comma-separated), `side`, `pools` (convolutions a pool follows) and `threshold`.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

from scenes import COLORS, RELATIONS, SLOTS, used_slots

SIDE, CELLS = 128, 16
WIDTHS = (32, 64, 96, 128, 192, 192, 192)
POOLS = (0, 1, 3)
THRESHOLD = 0.4
SPREAD = 0.7  # of the Gaussian around a centre, in cells


class Judge(nn.Module):
    def __init__(self, classes):
        super().__init__()
        inside = (3, *WIDTHS[:-1])
        self.trunk = nn.ModuleList([nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in zip(inside, WIDTHS, strict=True)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(width) for width in WIDTHS])
        self.heatmap = nn.Conv2d(WIDTHS[-1], classes, 1)
        self.color = nn.Linear(WIDTHS[-1], len(COLORS))
        nn.init.constant_(self.heatmap.bias, -4.6)  # most cells hold nothing

    def forward(self, pictures):
        """Scores [B, N, 16, 16] and [B, 10], features [B, 192] of pictures [B, 3, ...] in [0, 1]."""
        x = pictures
        if x.shape[-1] != SIDE:
            x = F.interpolate(x, size=(SIDE, SIDE), mode="area")
        for number, (conv, normalise) in enumerate(zip(self.trunk, self.norms, strict=True)):
            x = F.relu(normalise(conv(x)))
            if number in POOLS:
                x = F.max_pool2d(x, 2)
        features = x.mean((2, 3))
        return self.heatmap(x), self.color(features), features


def targets(scenes, classes):
    """[B, N, 16, 16]: 1 in the cell of a sprite's centre, falling off around it."""
    batch, device = len(scenes.count), scenes.x.device
    cell = torch.arange(CELLS, device=device)
    used = used_slots(scenes.count)
    column, row = ((place * CELLS).long().clamp(0, CELLS - 1) for place in (scenes.x, scenes.y))
    across = (cell - column[..., None]).float().square()
    down = (cell - row[..., None]).float().square()
    bumps = torch.exp(-(down[..., :, None] + across[..., None, :]) / (2 * SPREAD**2)) * used[..., None, None]
    heat = torch.zeros(batch, classes, CELLS, CELLS, device=device)
    rows = torch.arange(batch, device=device)
    for slot in range(SLOTS):
        named = scenes.classes[:, slot].clamp(min=0)
        heat[rows, named] = torch.maximum(heat[rows, named], bumps[:, slot])
    return heat


def focal_loss(scores, wanted):
    """Of a heatmap: exact centres count fully, cells near one less the nearer they are (penalty-reduced focal loss)."""
    scores = scores.float()
    likely = torch.sigmoid(scores)
    positive = wanted == 1
    hit = -F.logsigmoid(scores) * (1 - likely).square()
    miss = -F.logsigmoid(-scores) * likely.square() * (1 - wanted) ** 4
    return torch.where(positive, hit, miss).sum() / positive.sum().clamp(min=1)


@torch.no_grad()
def sprites_of(heat):
    """Per picture a list of (class, x, y, score), best first. `heat` as scores before the sigmoid."""
    best, classes = torch.sigmoid(heat.float().cpu()).max(1)
    peak = (best == F.max_pool2d(best[:, None], 3, 1, 1)[:, 0]) & (best > THRESHOLD)
    found = []
    for number in range(len(heat)):
        cells = peak[number].nonzero().tolist()
        each = [(classes[number, row, column].item(), (column + 0.5) / CELLS, (row + 0.5) / CELLS, best[number, row, column].item())
                for row, column in cells]  # fmt: skip
        found.append(sorted(each, key=lambda item: -item[3]))
    return found


def relation_holds(relation, one, other):
    """Whether a sprite stands to another as RELATIONS[relation] says; both (class, x, y, score)."""
    dx, dy = other[1] - one[1], other[2] - one[2]
    along = (dx, -dx, dy, -dy)[relation]
    return along > 0 and along >= abs(dy if relation < 2 else dx)


def attributes(found, heat, color, scenes):
    """Per scene, whether each attribute was seen as described: {attribute: list of bool}. `found` are the sprites_of(heat)."""
    best = heat.flatten(2).amax(2).argmax(1).tolist()
    result = {name: [] for name in ("class", "single", "two", "count", "position", "color", "all")}
    for number, seen in enumerate(found):
        count = int(scenes.count[number])
        wanted = scenes.classes[number, :count].tolist()
        kind = int(scenes.kind[number])
        got = [item[0] for item in seen]
        right_count = len(got) == count
        if kind == 0:
            result["class"].append(best[number] == wanted[0])
            result["single"].append(bool(got) and got[0] == wanted[0])
        if kind == 1:
            has_both = set(wanted) <= set(got)
            result["two"].append(has_both)
            pair = [next((item for item in seen if item[0] == name), None) for name in wanted]
            result["position"].append(has_both and relation_holds(int(scenes.relation[number]), *pair))
        if kind == 2:
            result["count"].append(right_count and set(got) == set(wanted))
        result["all"].append(sorted(got) == sorted(wanted))
        result["color"].append(int(color[number]) == int(scenes.color[number]))
    return result


@torch.no_grad()
def accuracies(judge, maker, seed, count, batch=100):
    """The judge's own accuracy on fresh scenes, per attribute."""
    sums = {}
    for start in range(0, count, batch):
        scenes, pictures = maker.make(seed, start, batch)
        heat, color, _ = judge(pictures)
        seen = attributes(sprites_of(heat), heat, color.argmax(1).cpu(), scenes.to("cpu"))
        for name, each in seen.items():
            right, total = sums.get(name, (0, 0))
            sums[name] = (right + sum(each), total + len(each))
    return {name: right / total for name, (right, total) in sums.items() if total}


def folded(judge):
    """Weights with every batch norm multiplied into its convolution."""
    weights = {}
    for number, (conv, norm) in enumerate(zip(judge.trunk, judge.norms, strict=True)):
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weights[f"trunk.{number}.weight"] = conv.weight * factor[:, None, None, None]
        weights[f"trunk.{number}.bias"] = norm.bias - norm.running_mean * factor
    for name in ("heatmap", "color"):
        weights |= {f"{name}.{key}": value for key, value in getattr(judge, name).state_dict().items()}
    return {name: value.detach().float().cpu().contiguous() for name, value in weights.items()}


def save_judge(judge, names, path):
    metadata = {
        "format": "nextscale-judge", "version": "1", "classes": ",".join(names), "colors": ",".join(COLORS),
        "relations": ",".join(RELATIONS), "side": str(SIDE), "pools": ",".join(map(str, POOLS)), "threshold": str(THRESHOLD),
    }  # fmt: skip
    save_file(folded(judge), path, metadata=metadata)


def run_folded(weights, pictures):
    """The exported judge, spelled with the layers an engine has: what its implementation is to be compared with."""
    x = F.interpolate(pictures, size=(SIDE, SIDE), mode="area") if pictures.shape[-1] != SIDE else pictures
    for number in range(len(WIDTHS)):
        x = F.relu(F.conv2d(x, weights[f"trunk.{number}.weight"], weights[f"trunk.{number}.bias"], padding=1))
        if number in POOLS:
            x = F.max_pool2d(x, 2)
    features = x.mean((2, 3))
    heat = F.conv2d(x, weights["heatmap.weight"], weights["heatmap.bias"])
    return heat, F.linear(features, weights["color.weight"], weights["color.bias"]), features
