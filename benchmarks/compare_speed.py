"""Claim: `archfit compare` of ten networks at 224 pixels takes under 60 s, and a second call under 5 s from its cache.

Runs the command twice with a cache of its own.

    python benchmarks/compare_speed.py [--image-size 224]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe_machine

NETWORKS = (
    "mnasnet-a1",
    "mnasnet-b1",
    "mnasnet-small",
    "mobilenet-v1",
    "mobilenet-v2",
    "efficientnet-lite0",
    "proxylessnas-mobile",
    "torchvision:shufflenet_v2_x1_0",
    "torchvision:mobilenet_v3_large",
    "timm:mobilenetv3_small_100",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "compare_speed.json")
    args = parser.parse_args()
    command = [sys.executable, "-m", "archfit", "compare", *NETWORKS, "--image-size", str(args.image_size), "--json"]
    seconds, rows = [], []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(2):
            start = time.perf_counter()
            done = subprocess.run(
                command, env={**os.environ, "ARCHFIT_CACHE": cache}, check=True, capture_output=True, text=True
            )
            seconds.append(time.perf_counter() - start)
            rows.append(json.loads(done.stdout))
            print(f"{seconds[-1]:.1f} s", flush=True)
    result = {
        "claim": "under 60 s, then under 5 s",
        "seconds": seconds,
        "same_answers": rows[0]["networks"] == rows[1]["networks"],
        "image_size": args.image_size,
        "networks": rows[0]["networks"],
        "machine": describe_machine(),
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
