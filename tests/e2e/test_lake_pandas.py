"""Parquet of the lake as others read it: pandas, pyarrow over the whole folder, and an MLRun feature set's way of doing so."""
import ctypes
import math
import os
import re
import subprocess

import pandas as pd
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UID = "2f9d6f3c7a5b4c1e8d0a1b2c3d4e5f60"
COLUMNS = ["function_uri", "endpoint_name", "model_class", "timestamp", "request_id", "latency", "first_request",
           "last_request", "last_request_timestamp", "labels", "metrics", "entities", "effective_sample_count",
           "estimated_prediction_count", "feature_names", "label_names", "f0", "word", "y", "modelmon_offset",
           "modelmon_row", "endpoint_type", "endpoint_id", "modelmon_other"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """(folder, paths): 100 events of 2 rows over two hours."""
    program = "build/rel/tests/bench/bench_lake"
    subprocess.run(["make", "-s", program], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    folder = tmp_path_factory.mktemp("lake")
    out = subprocess.run([os.path.join(ROOT, program), "sample", str(folder)], check=True, capture_output=True, text=True)
    return folder, out.stdout.split()


def test_a_file_has_mlruns_columns_and_stable_types(lake):
    folder, paths = lake
    assert len(paths) == 2
    schema = pq.read_schema(folder / paths[0])
    assert schema.names == COLUMNS
    types = {name: str(schema.field(name).type) for name in schema.names}
    assert types["timestamp"] == "timestamp[us, tz=UTC]"
    assert {types[c] for c in ("latency", "effective_sample_count", "modelmon_offset", "endpoint_type")} == {"int64"}
    assert {types[c] for c in ("last_request_timestamp", "estimated_prediction_count", "f0", "y")} == {"double"}
    assert {types[c] for c in ("function_uri", "request_id", "labels", "metrics", "entities", "word", "endpoint_id")} == {"string"}
    assert types["feature_names"].startswith("list<") and types["feature_names"].endswith("string>")
    assert schema.equals(pq.read_schema(folder / paths[1]))


def test_pandas_reads_what_was_sent(lake):
    folder, paths = lake
    df = pd.concat([pd.read_parquet(folder / p) for p in paths]).sort_values(["modelmon_offset", "modelmon_row"])
    assert len(df) == 200
    assert df.request_id.tolist() == [f"r{i}" for i in range(100) for _ in range(2)]
    first, second = df[df.modelmon_row == 0], df[df.modelmon_row == 1]
    assert first.f0.tolist() == [i / 7 for i in range(100)]
    assert second.f0.isna().all()
    assert (first.word == "w").all() and second.word.isna().all()
    assert first.y.tolist() == list(range(100)) and (second.y == 1).all()
    assert df.timestamp.iloc[0] == pd.Timestamp("2025-01-01 00:00:01.123456", tz="UTC")
    assert df.last_request.iloc[2] == "2025-01-01 00:01:13.123456+00:00"
    assert (df.first_request == "2025-01-01 00:00:01.123456+00:00").all()
    assert math.isclose(df.last_request_timestamp.iloc[0], 1735689601.123456)
    assert df.effective_sample_count.sum() == 300 and df.estimated_prediction_count.sum() == 3000  # not once a row
    assert list(df.feature_names.iloc[0]) == ["f0", "word"] and list(df.label_names.iloc[0]) == ["y"]
    assert (df.metrics == '{"m":1.5}').all() and df.labels.isna().all()
    assert (df.latency == 7100).all() and (df.endpoint_type == 1).all() and (df.endpoint_id == UID).all()


def test_the_folder_reads_as_a_partitioned_set(lake):
    folder, _ = lake
    base = folder / "my-proj/model-endpoints/parquet"
    table = pyarrow.dataset.dataset(str(base), format="parquet", partitioning="hive").to_table()
    assert table.num_rows == 200
    assert set(table["key"].to_pylist()) == {UID} and set(table["hour"].to_pylist()) == {0, 1}
    df = pd.read_parquet(base / f"key={UID}", filters=[("timestamp", ">", pd.Timestamp("2025-01-01 01:00", tz="UTC"))])
    assert len(df) == 100 and (df.hour.astype(int) == 1).all()


def readme(language, folder):
    """The note's lines, with this lake for the one they speak of."""
    with open(os.path.join(ROOT, "services/stream/README.md"), encoding="utf-8") as f:
        (block,) = re.findall(rf"```{language}\n(.*?)```", f.read(), re.S)
    return block.replace("LAKE_DIR/shop", f"{folder}/my-proj").replace("key=UID", f"key={UID}")


def test_the_readmes_lines_for_pandas(lake):
    names = {}
    exec(readme("python", lake[0]), names)  # pylint: disable=exec-used
    assert len(names["rows"]) == 200 and names["rows"].y.sum() == sum(range(100)) + 100
    assert names["rows"].timestamp.is_monotonic_increasing and set(names["rows"].modelmon_other.dropna()) == {'{"y":true}'}


def test_the_readmes_lines_for_duckdb(lake):
    duck = ctypes.CDLL(os.path.join(ROOT, ".deps/duckdb/lib/libduckdb.so"))
    db, con, result = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.create_string_buffer(256)
    duck.duckdb_value_int64.restype = ctypes.c_int64
    duck.duckdb_row_count.restype = ctypes.c_uint64
    duck.duckdb_result_error.restype = ctypes.c_char_p
    assert duck.duckdb_open(None, ctypes.byref(db)) == 0 and duck.duckdb_connect(db, ctypes.byref(con)) == 0
    answers = []
    for line in readme("sql", lake[0]).splitlines():
        assert duck.duckdb_query(con, line.encode(), result) == 0, duck.duckdb_result_error(result)
        rows = duck.duckdb_row_count(result)
        column = 1 if " AS n " in line else 0
        answers.append([duck.duckdb_value_int64(result, ctypes.c_uint64(column), ctypes.c_uint64(r)) for r in range(rows)])
        duck.duckdb_destroy_result(result)
    duck.duckdb_disconnect(ctypes.byref(con))
    duck.duckdb_close(ctypes.byref(db))
    assert answers[1:] == [[100, 100], [100]]


def test_mlruns_parquet_target_reads_it(lake):
    folder, _ = lake
    from mlrun.datastore.targets import ParquetTarget  # what a monitoring feature set reads through
    target = ParquetTarget(path=f"file://{folder}/my-proj/model-endpoints/parquet/key={UID}")
    df = target.as_df(columns=["f0", "word", "y", "timestamp"], time_column="timestamp",
                      start_time=pd.Timestamp("2025-01-01 00:00:01.123456", tz="UTC"),
                      end_time=pd.Timestamp("2025-01-01 01:00", tz="UTC"),
                      optimize_discovery=False)  # which asks for "://path" when the lake is a local folder
    assert len(df) == 98  # MLRun's (start, end]: the first event is left out
    assert df.timestamp.min() > pd.Timestamp("2025-01-01 00:00:01.123456", tz="UTC")
