from __future__ import annotations

import json

import pytest

from archfit.cost import Budget
from archfit.errors import RunError
from archfit.report.load import read_result, result_from_json


def test_result_survives_json(result, tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(result.to_json()), encoding="utf-8")
    assert read_result(tmp_path) == result


def test_result_without_latency_survives_json(result_of):
    result = result_of(p50_ms=None, budget=Budget())
    assert result_from_json(json.loads(json.dumps(result.to_json()))) == result


def test_missing_result_names_the_file_and_the_remedy(tmp_path):
    with pytest.raises(RunError, match=r"result\.json is not there.*archfit resume"):
        read_result(tmp_path)


def test_truncated_result_is_a_run_error(result, tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(result.to_json())[:500], encoding="utf-8")
    with pytest.raises(RunError, match="cannot be read"):
        read_result(tmp_path)


def test_missing_part_is_named(result):
    value = result.to_json()
    del value["parity"]
    with pytest.raises(RunError, match=r"'parity' is missing; it was written by archfit 0\.1\.0"):
        result_from_json(value)


def test_unknown_field_of_a_part_is_a_run_error(result):
    value = result.to_json()
    value["parity"]["colour"] = 3
    with pytest.raises(RunError, match="colour"):
        result_from_json(value)


def test_other_schema_is_refused(result):
    with pytest.raises(RunError, match="schema is 2, this archfit reads 1"):
        result_from_json({**result.to_json(), "schema": 2})


def test_list_is_no_result():
    with pytest.raises(RunError, match="not list"):
        result_from_json([])
