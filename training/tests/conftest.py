# SPDX-License-Identifier: Apache-2.0
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

TRAINING = Path(__file__).parent.parent
sys.path.insert(0, str(TRAINING))


def golden_folder(family):
    """Golden vectors: the tests' copies, or NEXTSCALE_GOLDEN for families that have none there."""
    for root in filter(None, (os.environ.get("NEXTSCALE_GOLDEN"), TRAINING.parent / "tests" / "data")):
        if (Path(root) / family).is_dir():
            return Path(root) / family
    pytest.skip(f"no golden vectors of {family}: set NEXTSCALE_GOLDEN to the folder that holds {family}/")


class Case:
    def __init__(self, folder):
        self.folder = folder
        self.config = json.loads((folder / "config.json").read_text())
        self.expected = load_file(folder / "expected.safetensors")

    def weights(self, name):
        return torch.load(self.folder / name, weights_only=True, map_location="cpu")

    def close(self, name, got, tolerance):
        wanted = self.expected[name]
        assert got.shape == wanted.shape, name
        worst = (got.double() - wanted.double()).abs().max().item()
        assert worst <= tolerance, f"{name}: off by {worst}, at most {tolerance}"


@pytest.fixture
def golden():
    return lambda family, name: Case(golden_folder(family) / name)
