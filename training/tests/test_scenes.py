# SPDX-License-Identifier: Apache-2.0
import json

import evaluation
import pytest
import reader
import scenes
import sprites
import torch

COMPOSED = {"side": 64, "recipe": "composed", "kind_weights": [1, 1, 1, 1], "single_size": [0.35, 0.8]}


@pytest.fixture(scope="module")
def maker():
    if not (sprites.DATA / "atlas.png").exists():
        pytest.skip("no atlas: run `python sprites.py`")
    return scenes.SceneMaker(COMPOSED)


def test_a_scene_does_not_depend_on_its_batch(maker):
    _, many = maker.make(1, 0, 32)
    _, few = maker.make(1, 20, 3)
    assert torch.equal(many[20:23], few)


def test_other_seeds_give_other_scenes(maker):
    assert not torch.equal(maker.describe(1, torch.arange(50)).x, maker.describe(2, torch.arange(50)).x)


def test_pairs_stand_in_their_relation(maker):
    found = maker.describe(5, torch.arange(4000))
    pairs = found.kind == 1
    dx, dy = found.x[:, 1] - found.x[:, 0], found.y[:, 1] - found.y[:, 0]
    along = torch.stack((dx, -dx, dy, -dy), 1)[torch.arange(4000), found.relation.clamp(min=0)]
    assert (along[pairs] > 0).all()
    assert (along[pairs] >= torch.minimum(dx.abs(), dy.abs())[pairs]).all()


def test_sprites_keep_apart_and_inside(maker):
    found = maker.describe(6, torch.arange(4000))
    for slot in range(scenes.SLOTS):
        used = found.count > slot
        for place in (found.x, found.y):
            reach = found.size[used, slot] / 2
            assert (place[used, slot] - reach >= -1e-5).all() and (place[used, slot] + reach <= 1 + 1e-5).all()
    several = found.count > 1
    distance = torch.hypot(found.x[:, 0] - found.x[:, 1], found.y[:, 0] - found.y[:, 1])
    touching = distance < 0.8 * (found.size[:, 0] + found.size[:, 1]) / 2 - 1e-6
    assert touching[several].float().mean() < 0.002


def test_kinds_have_their_counts_and_classes(maker):
    found = maker.describe(7, torch.arange(2000))
    for kind, least, most in ((0, 1, 1), (1, 2, 2), (2, 2, 4), (3, 3, 4)):
        counts = found.count[found.kind == kind]
        assert counts.min() == least and counts.max() == most
    same = found.classes[found.kind == 2]
    assert (same[:, 0] == same[:, 1]).all()
    different = found.classes[found.kind == 1]
    assert (different[:, 0] != different[:, 1]).all()


def test_the_sprite_lies_where_the_description_says(maker):
    index = torch.arange(200)
    found = maker.describe(8, index)
    with_sprites = maker.render(found, 8, index)
    without = maker.render(scenes.Scenes(**{**vars(found), "count": torch.zeros_like(found.count)}), 8, index)
    weight = (with_sprites - without).abs().sum(1)
    grid = (torch.arange(64) + 0.5) / 64
    single = found.kind == 0
    for place, axis in ((found.x, 1), (found.y, 2)):
        centre = (weight.sum(axis) * grid).sum(1) / weight.sum((1, 2))
        assert ((centre - place[:, 0]).abs()[single] < 0.15).all()


def test_captions_name_what_is_there(maker):
    index = torch.arange(300)
    found = maker.describe(9, index)
    for number, text in enumerate(maker.captions(found, 9, index)):
        low = text.lower()
        for cls in found.classes[number, : found.count[number]].tolist():
            sprite = sprites.SPRITES[cls]
            words = [word for noun in (sprite.name, *sprite.synonyms) for word in (noun, sprite.plural_of(noun))]
            assert any(word in low for word in words), (text, sprite.name)


def test_a_level_world_has_one_place_for_a_pair_and_one_colour_unsaid():
    maker = scenes.SceneMaker({"side": 64, "recipe": "composed", "kind_weights": [1, 2, 0, 0], "pair_size": [0.5, 0.5], "snap": 4,
                               "level": True, "unsaid": "white"})  # fmt: skip
    index = torch.arange(1000)
    found = maker.describe(5, index)
    for relation, place in enumerate(((0.25, 0.5), (0.75, 0.5), (0.5, 0.25), (0.5, 0.75))):
        both = found.relation == relation
        assert both.any() and (found.x[both, 0] == place[0]).all() and (found.y[both, 0] == place[1]).all()
    unsaid = torch.tensor(["background" not in text for text in maker.captions(found, 5, index)])
    assert unsaid.any() and (found.color[unsaid] == scenes.COLORS.index("white")).all()


def test_the_reader_is_asked_which_sprite_fills_a_quadrant():
    level = scenes.SceneMaker({"side": 64, "recipe": "composed", "kind_weights": [1, 2, 1, 0], "pair_size": [0.5, 0.5], "snap": 4,
                               "level": True})  # fmt: skip
    found = level.describe(5, torch.arange(500))
    sprites_at = reader.quadrants(found)
    pair, single = found.kind == scenes.KINDS.index("pair"), found.kind == scenes.KINDS.index("single")
    for quadrant in range(reader.QUADRANTS):
        off = (found.x - (0.25, 0.75)[quadrant % 2]) ** 2 + (found.y - (0.25, 0.75)[quadrant // 2]) ** 2
        nearest = found.classes[:, :2].gather(1, off[:, :2].argmin(1, keepdim=True))[:, 0]
        assert torch.equal(sprites_at[pair, quadrant], nearest[pair])
        assert torch.equal(sprites_at[single, quadrant], found.classes[single, 0])
        assert (sprites_at[~pair & ~single, quadrant] == -1).all()


def test_names_of_sprites_are_unique():
    assert len(set(sprites.NAMES)) == len(sprites.NAMES) == 100


def test_written_scenes_say_what_they_show(maker, tmp_path):
    evaluation.write_scenes(maker, scenes.HELD_OUT_SEED, 60, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "expectations.jsonl").read_text().splitlines()]
    found = maker.describe(scenes.HELD_OUT_SEED, torch.arange(60))
    assert len(lines) == 60
    for index, line in enumerate(lines):
        assert (tmp_path / f"{line['name']}.png").exists()
        assert line["sprites"] == [maker.names[c] for c in found.classes[index, : found.count[index]].tolist()]
        assert ("relation" in line) == (line["kind"] == "pair")
        assert ("color" in line) == ("background" in line["prompt"])
