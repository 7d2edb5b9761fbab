# SPDX-License-Identifier: Apache-2.0
"""The study on a tiny model with random weights: killed in the middle, resumed, rendered again.

    study_test.py STUDY NEXTSCALE RANDOM_CHECKPOINT
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

STUDY, NEXTSCALE, RANDOM_CHECKPOINT = map(pathlib.Path, sys.argv[1:4])
PAGE = STUDY.parent.parent / "docs" / "quality.md"


def run(*words):
    return subprocess.run([str(word) for word in words], check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True).stdout


class Study(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        run(RANDOM_CHECKPOINT, "--depth", 2, "--width", 32, "--heads", 4, "--patch-nums",
            "1,2,3,4", "--vocab", 50, "--latent", 12, "--classes", 4, "--vae-ch", 32, "-o",
            self.folder)
        run(NEXTSCALE, "convert", "--family", "var", "--transformer", self.folder / "var_d2.pth",
            "--vae", self.folder / "vae_ch32v50z12.pth", "--patch-nums", "1,2,3,4", "-o",
            self.folder / "tiny")
        self.page = self.folder / "quality.md"
        shutil.copy(PAGE, self.page)
        self.units = self.folder / "out" / "tiny" / "units"
        self.render = [sys.executable, STUDY, "--out", self.folder / "out", "--page", self.page,
                       "--nextscale", NEXTSCALE]
        self.command = self.render + ["--model", self.folder / "tiny", "--pictures", 2, "--sizes",
                                      "1,2", "--sets", 2, "--threads", 1]

    def run_until(self, unit):
        """Starts the study and kills it as soon as the unit is there."""
        with subprocess.Popen([str(word) for word in self.command], stdout=subprocess.DEVNULL,
                              start_new_session=True) as study:
            while not (self.units / f"{unit}.json").exists():
                self.assertIsNone(study.poll(), "the study ended too early")
                time.sleep(0.01)
            os.killpg(study.pid, signal.SIGKILL)

    def contents(self):
        return {path.name: path.read_bytes() for path in self.units.glob("*.json")}

    def test_goes_on_after_a_kill_and_reproduces_its_page(self):
        self.run_until("compare-budgets-01")
        before = self.contents()
        self.assertNotIn("compare-ablations-00.json", before)
        run(*self.command)
        after = self.contents()
        self.assertEqual(before, {name: after[name] for name in before})
        page = self.page.read_text(encoding="utf-8")
        self.check_page(page)
        # From the units alone, over the page and over an empty one.
        shutil.rmtree(self.folder / "tiny")
        run(*self.render, "--render")
        self.assertEqual(page, self.page.read_text(encoding="utf-8"))
        shutil.copy(PAGE, self.page)
        run(*self.render, "--render")
        self.assertEqual(page, self.page.read_text(encoding="utf-8"))

    def check_page(self, page):
        self.assertIn("`hackpp:attn=30%,cache=1%,score=swapped`", page)
        answers = {path.stem: json.loads(path.read_text())["answer"]
                   for path in self.units.glob("*.json")}
        policy = answers["compare-budgets-00"]["comparison"]["policies"][1]
        self.assertIn(f"`{policy['kv']}`", page)
        self.assertIn(f"{policy['ssim']['mean']:.3g}", page)
        for row in answers["plan"]["rows"]:
            self.assertIn(f"`{row['kv']}`", page)
        for name in ("quality", "variance", "heads", "budgets", "calibration"):
            drawing = (self.folder / "figures" / f"tiny-{name}.svg").read_text()
            self.assertTrue(drawing.startswith("<svg"))


class Statistics(unittest.TestCase):
    """Against values that are known."""

    @classmethod
    def setUpClass(cls):
        sys.path.insert(0, str(STUDY.parent))
        import study_tables
        cls.tables = study_tables

    def test_spearman(self):
        self.assertAlmostEqual(self.tables.spearman([1, 2, 3, 4], [10, 20, 30, 40]), 1)
        self.assertAlmostEqual(self.tables.spearman([1, 2, 3, 4], [8, 6, 4, 2]), -1)
        # 1 - 6 sum d^2 / (n (n^2 - 1)), where ranks differ by 0, 1, 1, 1, 1.
        self.assertAlmostEqual(self.tables.spearman([1, 2, 3, 4, 5], [1, 3, 2, 9, 4]),
                               1 - 6 * 4 / (5 * 24))

    def test_ranks_share_ties(self):
        self.assertEqual(self.tables.ranks([5, 1, 5, 0]), [2.5, 1, 2.5, 0])

    def test_overlap(self):
        self.assertAlmostEqual(self.tables.jaccard([1, 1, 0, 0], [1, 0, 1, 0]), 1 / 3)
        self.assertEqual(self.tables.jaccard([0, 0], [0, 0]), 1)

    def test_intervals_hold_the_mean_and_are_repeatable(self):
        values = [float(each % 7) for each in range(50)]
        interval = self.tables.bootstrap(values)
        self.assertLess(interval["low"], interval["mean"])
        self.assertGreater(interval["high"], interval["mean"])
        self.assertEqual(interval, self.tables.bootstrap(values))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
