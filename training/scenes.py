# SPDX-License-Identifier: Apache-2.0
"""Emoji scenes: one to four sprites on a varied background, with an exact description.

A scene is a function of (seed, index) alone: every random number is a hash of seed, index, what it decides, and a counter.
Batch size and device do not change a description. Scenes are made in batches on the device of the atlas.

Recipes (key "recipe" of a config's "scenes"):
  single    one sprite in the middle, more or less; the class model's pictures
  composed  single objects, pairs in a relation, several of one kind, groups; the text model's pictures

Small models learn sooner from fewer kinds of pictures: "snap" puts centres on a grid of so many cells a side, "size_steps" allows so
many sizes, evenly over their range, "tint" below 1 varies the tones of a colour less, and "level" puts pairs in the middle row or
column. "unsaid" is the one colour of backgrounds that captions may leave out, so that what they do not say is not left to chance.
"""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F

import sprites

SLOTS = 4  # most sprites of a scene
CANDIDATES = 48  # placements tried per scene
# Seeds at and above this one are for evaluation; training refuses them.
HELD_OUT_SEED = 1_000_000

KINDS = ("single", "pair", "count", "group")
RELATIONS = ("left of", "right of", "above", "below")
PATTERNS = ("plain", "gradient", "stripes", "checks", "noise")
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "gray", "white", "black")
_RGB = (
    (0.84, 0.16, 0.16), (0.98, 0.55, 0.10), (0.98, 0.88, 0.25), (0.25, 0.68, 0.30), (0.20, 0.42, 0.90),
    (0.53, 0.25, 0.75), (0.98, 0.62, 0.78), (0.55, 0.55, 0.55), (0.98, 0.98, 0.98), (0.08, 0.08, 0.09),
)  # fmt: skip
# The second tone of a pattern, towards white (+) or black (-): still the same colour to a person.
_TONE = (-0.25, -0.2, -0.18, -0.25, 0.25, 0.25, 0.35, -0.2, -0.12, 0.2)

_MASK = 0xFFFFFFFF
_STREAMS = {name: number for number, name in enumerate(
    ("kind", "classes", "place", "relation", "color", "pattern", "tone", "shape", "noise", "words", "label"), 1)}  # fmt: skip


def _mix(x):
    """32-bit integer hash (lowbias32 of Chris Wellons, public domain), on int64 tensors."""
    x = x & _MASK
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK
    return x ^ (x >> 16)


def uniform(seed, index, stream, count):
    """Numbers in [0, 1), float32 [len(index), count]: a function of its arguments only."""
    state = _mix(index + _mix(torch.full_like(index, seed)) * 3 + 1)
    state = _mix(state + (index >> 32) * 0x9E3779B9)
    state = _mix(state + _STREAMS[stream] * 0x85EBCA6B)
    counter = torch.arange(1, count + 1, device=index.device) * 0x9E3779B9
    bits = _mix(state[:, None] + _mix(counter)[None])
    return (bits >> 8).to(torch.float32) * 2.0**-24


def used_slots(count):
    """bool [B, SLOTS]: which hold a sprite."""
    return torch.arange(SLOTS, device=count.device)[None] < count[:, None]


@dataclass
class Scenes:
    """Descriptions of a batch; every field a tensor [B] or [B, SLOTS] on one device."""

    kind: torch.Tensor
    count: torch.Tensor
    classes: torch.Tensor  # [B, SLOTS], drawn from the last to the first: slot 0 lies on top
    x: torch.Tensor  # centre, fraction of the side
    y: torch.Tensor
    size: torch.Tensor  # fraction of the side
    relation: torch.Tensor  # of slot 0 to slot 1; pairs only, else -1
    color: torch.Tensor
    pattern: torch.Tensor

    def centres(self):
        """[B, SLOTS, 2]: x and y of every sprite, NaN where there is none."""
        return torch.stack((self.x, self.y), -1).masked_fill(~used_slots(self.count)[..., None], float("nan"))

    def to(self, device):
        return Scenes(*(getattr(self, field.name).to(device) for field in fields(self)))


class SceneMaker:
    """Makes descriptions and pictures. `config` is the "scenes" section of a training config."""

    def __init__(self, config, device="cpu", data=sprites.DATA):
        self.side = config["side"]
        self.recipe = config["recipe"]
        self.kind_weights = torch.tensor(config.get("kind_weights", [1.0, 0, 0, 0]), device=device)
        self.single_size = config.get("single_size", [0.5, 0.85])
        self.pair_size = config.get("pair_size", [0.28, 0.44])
        self.group_size = config.get("group_size", [0.24, 0.34])
        self.size_steps = config.get("size_steps")
        self.jitter = config.get("jitter", 1.0)
        self.snap = config.get("snap")
        self.tint = config.get("tint", 1.0)
        self.level = config.get("level", False)
        self.unsaid = config.get("unsaid")
        self.patterns = torch.tensor([PATTERNS.index(name) for name in config.get("patterns", PATTERNS)], device=device)
        self.colors = torch.tensor([COLORS.index(name) for name in config.get("colors", COLORS)], device=device)
        names = config.get("classes") or sprites.NAMES
        self.names = list(sprites.NAMES[:names] if isinstance(names, int) else names)
        self.device = torch.device(device)
        cells = torch.from_numpy(sprites.load_atlas(data)).to(device)
        chosen = cells[torch.tensor([sprites.NAMES.index(name) for name in self.names], device=device)]
        self.mips = _premultiplied_mips(chosen.permute(0, 3, 1, 2).float() / 255)

    # ---- descriptions ----

    def describe(self, seed, index):
        index = torch.as_tensor(index, dtype=torch.int64, device=self.device)
        kind = self._kinds(seed, index)
        count = self._counts(seed, index, kind)
        classes = self._classes(seed, index, kind, count)
        x, y, size = self._places(seed, index, kind, count)
        pick = uniform(seed, index, "color", 2)
        return Scenes(
            kind=kind, count=count, classes=classes, x=x, y=y, size=size,
            relation=torch.where(kind == 1, self._relation(seed, index), -1),
            color=self.colors[(pick[:, 0] * len(self.colors)).long()],
            pattern=self.patterns[(pick[:, 1] * len(self.patterns)).long()],
        )  # fmt: skip

    def _kinds(self, seed, index):
        if self.recipe == "single":
            return torch.zeros_like(index)
        edges = torch.cumsum(self.kind_weights / self.kind_weights.sum(), 0)[:-1]
        return torch.bucketize(uniform(seed, index, "kind", 1)[:, 0], edges)

    def _counts(self, seed, index, kind):
        pick = uniform(seed, index, "kind", 2)[:, 1]
        several = 2 + (pick * 3).long()  # 2, 3, 4
        group = 3 + (pick * 2).long()  # 3, 4
        return torch.where(kind == 0, 1, torch.where(kind == 1, 2, torch.where(kind == 2, several, group)))

    def _classes(self, seed, index, kind, count):
        # The SLOTS largest of one number per class: distinct classes, each as likely as any other.
        ranks = uniform(seed, index, "classes", len(self.names))
        distinct = ranks.topk(min(SLOTS, len(self.names)), 1).indices
        distinct = F.pad(distinct, (0, SLOTS - distinct.shape[1]))
        classes = torch.where((kind == 2)[:, None], distinct[:, :1], distinct)
        return torch.where(used_slots(count), classes, -1)

    def _relation(self, seed, index):
        return (uniform(seed, index, "relation", 1)[:, 0] * len(RELATIONS)).long()

    def _places(self, seed, index, kind, count):
        """The first of CANDIDATES random placements that keeps the sprites apart (and the pair's axis clear)."""
        batch = len(index)
        draws = uniform(seed, index, "place", CANDIDATES * SLOTS * 3).view(batch, CANDIDATES, SLOTS, 3)
        ranges = torch.tensor([self.single_size, self.pair_size, self.group_size], device=index.device)
        low, high = ranges[(count - 1).clamp(max=2)].T[..., None, None]
        along = draws[..., 2]
        if self.size_steps:
            along = (along * self.size_steps).floor() / max(1, self.size_steps - 1)
        size = low + along * (high - low)
        if self.recipe == "single":
            spread = self.jitter * (1 - size).clamp(min=0)
            x, y = (0.5 + (draws[..., axis] - 0.5) * spread for axis in (0, 1))
        else:
            x, y = (size / 2 + draws[..., axis] * (1 - size) for axis in (0, 1))
        if self.snap:
            x, y = ((place * self.snap).round() / self.snap for place in (x, y))
        relation = self._relation(seed, index)
        x, y, size = self._turn_to_relation(x, y, size, relation, kind == 1)
        if self.level:
            pair, row = (kind == 1)[:, None, None], (relation < 2)[:, None, None]
            x, y = torch.where(pair & ~row, 0.5, x), torch.where(pair & row, 0.5, y)
        valid = self._apart(x, y, size, count, kind)
        first = valid.float().argmax(1)
        rows = torch.arange(batch, device=index.device)
        used = used_slots(count)
        return tuple(torch.where(used, values[rows, first], 0.0) for values in (x, y, size))

    def _turn_to_relation(self, x, y, size, relation, is_pair):
        """Swaps axes and the two sprites so that a pair stands in its relation."""
        dx, dy = x[..., 1] - x[..., 0], y[..., 1] - y[..., 0]
        wants_x = (relation < 2)[:, None]
        transpose = (is_pair[:, None] & ((dx.abs() > dy.abs()) != wants_x))[..., None]
        x, y = torch.where(transpose, y, x), torch.where(transpose, x, y)
        ahead = torch.where(wants_x, x[..., 1] > x[..., 0], y[..., 1] > y[..., 0])
        wants_ahead = (relation % 2 == 0)[:, None]  # slot 0 left of or above slot 1
        swap = is_pair[:, None] & (ahead != wants_ahead)
        order = torch.tensor([1, 0, 2, 3], device=x.device)
        return (torch.where(swap[..., None], values[..., order], values) for values in (x, y, size))

    def _apart(self, x, y, size, count, kind):
        valid = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        for one in range(SLOTS):
            for other in range(one):
                dx, dy = x[..., one] - x[..., other], y[..., one] - y[..., other]
                apart = dx**2 + dy**2 >= (0.8 * (size[..., one] + size[..., other]) / 2) ** 2
                valid &= apart | (count[:, None] <= one)
        dx, dy = (x[..., 1] - x[..., 0]).abs(), (y[..., 1] - y[..., 0]).abs()
        clear = torch.maximum(dx, dy) >= 1.6 * torch.minimum(dx, dy)
        return valid & (clear | (kind != 1)[:, None])

    # ---- pictures ----

    def render(self, scenes, seed, index):
        """float32 [B, 3, side, side] in [0, 1]."""
        index = torch.as_tensor(index, dtype=torch.int64, device=self.device)
        picture = self._background(scenes, seed, index)
        for slot in reversed(range(SLOTS)):
            rows = (scenes.count > slot).nonzero()[:, 0]
            if len(rows):
                layer = self._sprite_layer(scenes, slot, rows)
                picture[rows] = picture[rows] * (1 - layer[:, 3:]) + layer[:, :3]
        return picture.clamp_(0, 1)

    def make(self, seed, start, batch):
        """Descriptions and pictures of the scenes start ... start + batch - 1."""
        index = torch.arange(start, start + batch, device=self.device)
        scenes = self.describe(seed, index)
        return scenes, self.render(scenes, seed, index)

    def captions(self, scenes, seed, index):
        """The captions of a batch, a list of str."""
        numbers = uniform(seed, torch.as_tensor(index, dtype=torch.int64).cpu(), "words", 16).tolist()
        host = {field.name: getattr(scenes, field.name).cpu().tolist() for field in fields(scenes)}
        rows = [{name: values[i] for name, values in host.items()} for i in range(len(numbers))]
        return [caption(row, self.names, picks, self.unsaid) for row, picks in zip(rows, numbers, strict=True)]

    def _sprite_layer(self, scenes, slot, rows):
        size = scenes.size[rows, slot]
        pixels = size * self.side
        level = torch.log2(sprites.CELL / pixels).round().clamp(0, len(self.mips) - 1).long()
        cells = self.mips[level, scenes.classes[rows, slot]]
        grid = (torch.arange(self.side, device=self.device) + 0.5) / self.side
        across = (grid[None] - scenes.x[rows, slot][:, None]) * (2 / size)[:, None]
        down = (grid[None] - scenes.y[rows, slot][:, None]) * (2 / size)[:, None]
        shape = (len(rows), self.side, self.side)
        where = torch.stack((across[:, None, :].expand(shape), down[:, :, None].expand(shape)), -1)
        return F.grid_sample(cells, where, mode="bilinear", padding_mode="zeros", align_corners=False)

    def _background(self, scenes, seed, index):
        batch = len(index)
        base = torch.tensor(_RGB, device=self.device)[scenes.color]
        tone = torch.tensor(_TONE, device=self.device)[scenes.color]
        draws = uniform(seed, index, "tone", 4)
        draws = 0.5 + self.tint * (draws - 0.5)
        base = (base + (draws[:, :3] - 0.5) * 0.06).clamp(0, 1)
        towards = (tone > 0).float()[:, None]
        second = base + (towards - base) * (tone.abs() * (0.7 + 0.6 * draws[:, 3]))[:, None]
        mix = self._pattern_map(scenes.pattern, seed, index).view(batch, 1, self.side, self.side)
        return base[..., None, None] + (second - base)[..., None, None] * mix

    def _pattern_map(self, pattern, seed, index):
        """How much of the second tone each pixel has, [B, side, side]."""
        shape = uniform(seed, index, "shape", 4)
        grid = (torch.arange(self.side, device=self.device) + 0.5) / self.side
        across, down = grid[None, None, :], grid[None, :, None]
        angle = (shape[:, 0] * 8).floor() * (torch.pi / 4)
        along = across * torch.cos(angle)[:, None, None] + down * torch.sin(angle)[:, None, None]
        frequency = (3 + (shape[:, 1] * 4).floor())[:, None, None]
        phase = shape[:, 2][:, None, None]
        soft = 0.25 * self.side / frequency  # edges about two pixels wide

        def square(wave):
            return (0.5 + soft * wave).clamp(0, 1)

        def triangle(position):
            return (torch.remainder(position * frequency + phase, 1.0) - 0.5).abs() * 2 - 0.5

        gradient = (along - along.amin((1, 2), keepdim=True)) / (
            along.amax((1, 2), keepdim=True) - along.amin((1, 2), keepdim=True))  # fmt: skip
        stripes = square(triangle(along))
        checks = 0.5 + 2 * (square(triangle(across)) - 0.5) * (square(triangle(down)) - 0.5)
        lattice = uniform(seed, index, "noise", 64).view(-1, 1, 8, 8)
        noise = F.interpolate(lattice, size=(self.side, self.side), mode="bicubic", align_corners=False)[:, 0].clamp(0, 1)
        maps = torch.stack([torch.zeros_like(gradient), gradient, stripes, checks.expand_as(gradient), noise])
        return maps[pattern, torch.arange(len(index), device=self.device)]


def _premultiplied_mips(rgba, levels=3):
    """[levels, N, 4, CELL, CELL]: the same cells, each level blurred for half the size; colour times alpha."""
    cells = torch.cat((rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]), 1)
    side = cells.shape[-1]
    blurred = [cells]
    for level in range(1, levels):
        small = F.avg_pool2d(cells, 2**level)
        blurred.append(F.interpolate(small, size=(side, side), mode="bilinear", align_corners=False))
    return torch.stack(blurred)


# ---- captions ----

_NUMBERS = {2: ("two", "2", "a pair of"), 3: ("three", "3"), 4: ("four", "4")}
_COLOR_WORDS = {"purple": ("purple", "violet"), "gray": ("gray", "grey")}
PATTERN_WORDS = {
    "plain": ("", "plain", ""),
    "gradient": ("", "gradient", "shaded"),
    "stripes": ("", "striped"),
    "checks": ("", "checkered", "checked"),
    "noise": ("", "cloudy", "mottled"),
}
_RELATION_WORDS = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over", "on top of"),
    "below": ("below", "under", "beneath"),
}
_OPENINGS = ("", "", "", "a picture of ", "a drawing of ", "an image of ", "an emoji scene with ")
_ROWS = ("top", "", "bottom")
_COLUMNS = ("left", "", "right")


class _Words:
    """Picks words with the numbers of one scene, in order."""

    def __init__(self, numbers):
        self.numbers, self.next = numbers, 0

    def pick(self, choices):
        value = self.numbers[self.next]
        self.next += 1
        return choices[int(value * len(choices))]


def _article(words):
    return f"an {words}" if words[0] in "aeiou" and not words.startswith("uni") else f"a {words}"


def _noun(sprite, words):
    return words.pick((sprite.name, sprite.name, *sprite.synonyms))


def _place(x, y, words):
    row, column = _ROWS[min(2, int(y * 3))], _COLUMNS[min(2, int(x * 3))]
    if row and column:
        return words.pick((f"in the {row} {column}", f"in the {row} {column} corner"))
    if row or column:
        return words.pick((f"at the {row}",) if row else (f"on the {column}", f"on the {column} side"))
    return words.pick(("in the middle", "in the center"))


def caption(row, names, numbers, unsaid=None):
    """One scene in words. `row` is a dict of plain numbers, `numbers` decide between synonyms; only a background of the colour
    `unsaid` may be left out, or any if that is None."""
    words = _Words(numbers)
    nouns = [sprites.SPRITES[sprites.NAMES.index(names[c])] for c in row["classes"][: row["count"]]]
    opening = words.pick(_OPENINGS)
    kind = KINDS[row["kind"]]
    if kind == "single":
        text = _article(_noun(nouns[0], words))
        if words.pick((False, True)):
            text += " " + _place(row["x"][0], row["y"][0], words)
    elif kind == "pair":
        relation = words.pick(_RELATION_WORDS[RELATIONS[row["relation"]]])
        text = f"{_article(_noun(nouns[0], words))} {relation} {_article(_noun(nouns[1], words))}"
    elif kind == "count":
        noun = _noun(nouns[0], words)
        text = f"{words.pick(_NUMBERS[row['count']])} {nouns[0].plural_of(noun)}"
    else:
        things = [_article(_noun(sprite, words)) for sprite in nouns]
        text = ", ".join(things[:-1]) + " and " + things[-1]
    pattern = words.pick(PATTERN_WORDS[PATTERNS[row["pattern"]]])
    color = COLORS[row["color"]]
    ground = " ".join(part for part in (pattern, words.pick(_COLOR_WORDS.get(color, (color,))), "background") if part)
    joiner = words.pick((" on ", " on ", " with ", None if unsaid in (None, color) else " with "))
    whole = opening + text + ("" if joiner is None else joiner + _article(ground))
    style = words.pick(("as it is", "as it is", "capital", "sentence"))
    if style == "as it is":
        return whole
    return whole[0].upper() + whole[1:] + ("." if style == "sentence" else "")
