from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from archfit.architecture import Task, random_architecture
from archfit.spaces import CellSpace

PROGRAM = """
import sys
import torch
from safetensors.torch import load_file, save_file
import network
model = network.load("weights.safetensors")
assert not [name for name in sys.modules if name.split(".")[0] == "archfit"]
with torch.no_grad():
    save_file({"logits": model(load_file("images.safetensors")["images"])}, "logits.safetensors")
"""


def test_source_alone_gives_the_same_logits(tmp_path: Path) -> None:
    space, task = CellSpace(filters=4, cells=4, nodes=3), Task(1, 12, 3)
    architecture = random_architecture(space, random.Random(3))
    torch.manual_seed(0)
    network = space.build(architecture, task)
    images = torch.randn(4, 1, 12, 12)
    with torch.no_grad():
        for _ in range(3):
            network.train()(images)  # moves the batch norm statistics off their start
        expected = network.eval()(images)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    save_file({"images": images}, tmp_path / "images.safetensors")
    text = space.source(architecture, task, mean=[0.25], std=[0.5], class_names=["a", "b", "c"])
    assert max(map(len, text.splitlines())) <= 120
    assert "from archfit" not in text
    (tmp_path / "network.py").write_text(text, encoding="utf-8")

    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert torch.equal(load_file(tmp_path / "logits.safetensors")["logits"], expected)
