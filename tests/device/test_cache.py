from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from archfit.cost import Cost, Latency
from archfit.device import CostCache, cache_key

LATENCY = Latency(0.3, 0.29, 0.33, 0.01, 400, "local: x, 2 cores", "onnxruntime 1.31.1")
COST = Cost(params=10, madds=20, memory_bytes=30, latency=LATENCY, file_bytes=40)


def test_a_stored_cost_comes_back_equal(tmp_path: Path) -> None:
    CostCache(tmp_path).put("a" * 64, COST)
    assert CostCache(tmp_path).get("a" * 64) == COST
    assert CostCache(tmp_path).get("b" * 64) is None
    assert [path.name for path in (tmp_path / "costs").iterdir()] == ["a" * 64 + ".json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[1]",
        b"null",
        b'{"params": 1}',
        b'{"params": "many", "madds": 2}',
        b'{"params": 1, "madds": 2, "unknown": 3}',
        b'{"params": 1, "madds": 2, "latency": {"p50_ms": 1}}',
        json.dumps({**COST.to_json(), "latency": {**COST.to_json()["latency"], "p50_ms": float("nan")}}).encode(),
        json.dumps({**COST.to_json(), "latency": {**COST.to_json()["latency"], "p50_ms": "fast"}}).encode(),
    ],
)
def test_corrupt_files_are_absent_and_rewritten(tmp_path: Path, content: bytes) -> None:
    cache = CostCache(tmp_path)
    cache.put("k", COST)
    (tmp_path / "costs" / "k.json").write_bytes(content)
    assert cache.get("k") is None
    cache.put("k", COST)
    assert cache.get("k") == COST


def test_key_depends_on_every_part_and_on_no_order() -> None:
    key = cache_key(architecture={"a": 1, "b": 2}, threads=1)
    assert key == cache_key(threads=1, architecture={"b": 2, "a": 1})
    assert key != cache_key(architecture={"a": 1, "b": 2}, threads=2)
    assert key != cache_key(architecture={"a": 1, "b": 3}, threads=1)
    assert len(key) == 64


def test_a_disk_that_cannot_be_written_warns_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("where the folder should be")
    cache = CostCache(tmp_path / "file")
    with pytest.warns(RuntimeWarning, match="set ARCHFIT_CACHE"):
        cache.put("k", COST)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put("k", COST)
        assert cache.get("k") is None


def test_environment_moves_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHFIT_CACHE", str(tmp_path / "elsewhere"))
    CostCache().put("k", COST)
    assert (tmp_path / "elsewhere" / "costs" / "k.json").is_file()


def test_reference_comes_back_and_nonsense_does_not(tmp_path: Path) -> None:
    cache = CostCache(tmp_path)
    assert cache.get_reference("k") is None
    cache.put_reference("k", 0.25)
    assert CostCache(tmp_path).get_reference("k") == 0.25
    for content in ('{"p50_ms": -1}', '{"p50_ms": "x"}', "[]", '{"p50_ms": Infinity}'):
        (tmp_path / "anchors" / "k.json").write_text(content)
        assert cache.get_reference("k") is None
