from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from archfit.architecture import Task
from archfit.spaces import BlockChoices, MnasSpace

TASK = Task(channels=1, image_size=28, classes=3)
SPACE = MnasSpace(width=0.25)
ARCHITECTURE = SPACE.architecture(
    [
        BlockChoices("conv", 5, 0.25, "pool", 1.25, -1),
        BlockChoices("mbconv6", 3, 0.0, "identity", 1.0, 0),
        BlockChoices("mbconv3", 5, 0.25, "pool", 0.75, 0),
        BlockChoices("dconv", 3, 0.25, "identity", 1.0, -1),
        BlockChoices("conv", 3, 0.25, "pool", 1.0, -1),
        BlockChoices("mbconv6", 5, 0.0, "none", 1.25, 0),
        BlockChoices("mbconv6", 3, 0.25, "identity", 1.0, 1),
    ]
)
NAMES = ['a "quoted" name', "it's", "größe"]

PROGRAM = """
import sys
import torch
from safetensors.torch import load_file, save_file
import network
model = network.load("weights.safetensors")
assert not model.training
assert not [name for name in sys.modules if name.split(".")[0] == "archfit"]
with torch.no_grad():
    save_file({"logits": model(load_file("images.safetensors")["images"])}, "logits.safetensors")
print(network.CLASSES == ['a "quoted" name', "it's", "gr\\u00f6\\u00dfe"], network.MEAN, network.STD)
"""


def test_source_alone_gives_the_same_logits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = SPACE.build(ARCHITECTURE, TASK)
    images = torch.randn(4, 1, 28, 28)
    with torch.no_grad():
        for _ in range(3):
            network.train()(images)  # moves the batch norm statistics off their start
        expected = network.eval()(images)
    assert expected.std() > 1e-3
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    save_file({"images": images}, tmp_path / "images.safetensors")
    text = SPACE.source(ARCHITECTURE, TASK, mean=[0.25], std=[0.5], class_names=NAMES)
    (tmp_path / "network.py").write_text(text, encoding="utf-8")

    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "True [0.25] [0.5]"
    assert torch.equal(load_file(tmp_path / "logits.safetensors")["logits"], expected)


def test_source_says_what_goes_in_and_out() -> None:
    text = SPACE.source(ARCHITECTURE, TASK, mean=[0.25], std=[0.5], class_names=NAMES)
    assert "Input: float32 `(N, 1, 28, 28)`, grey scaled to 0..1, then `(image - MEAN) / STD` per channel." in text
    assert "Output: logits `(N, 3)` in the order of CLASSES." in text
    assert max(map(len, text.splitlines())) <= 120
    bare = SPACE.source(ARCHITECTURE, TASK)
    assert "MEAN" not in bare
    assert "CLASSES" not in bare
