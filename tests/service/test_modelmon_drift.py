"""modelmon drift: two files in, MLRun's numbers out; files that people really bring."""
import csv
import gzip
import itertools
import json
import math
import os
import subprocess

import numpy
import pandas
import pytest

import mm

with open(os.path.join(mm.ROOT, "tests/vectors/histogram_vectors.json")) as f:
    CASES = {c["name"]: c for c in json.load(f)["cases"]}
SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
COMPARED = [n for n, c in CASES.items() if c.get("metrics_per_feature")]
CRASHED = [n for n, c in CASES.items() if not c.get("metrics_per_feature")]


def drift(*args):
    env = {"PATH": os.environ["PATH"], "TERM": "dumb"}
    return subprocess.run([os.path.join(mm.BIN, "modelmon"), "drift", *map(str, args)], env=env, timeout=60, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def measured(*args):
    done = drift(*args, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def frame(columns, dtypes):
    out = {}
    for name, values in columns.items():
        kind = dtypes[name]
        values = [SPECIAL.get(v, v) if isinstance(v, str) and kind != "object" else v for v in values]
        out[name] = pandas.Series(pandas.to_datetime(values, utc=True) if kind.startswith("datetime") else values,
                                  dtype=None if kind.startswith("datetime") else kind)
    return pandas.DataFrame(out)


def files(folder, case, ending):
    paths = []
    for part in ("train", "sample"):
        path = folder / f"{part}.{ending}"
        data = frame(case[part], case[part + "_dtypes"])
        data.to_parquet(path) if ending == "parquet" else data.to_csv(path, index=False)
        paths.append(path)
    if case["name"].startswith("unpadded"):
        paths[0] = folder / "stats.json"
        paths[0].write_text(json.dumps(case["feature_stats"]))
    return paths


def close(ours, theirs, name):
    if theirs in (None, "NaN") or (isinstance(theirs, float) and math.isnan(theirs)):
        return ours is None
    return abs(ours - theirs) <= (2e-8 if "hellinger" in name or "drift" in name else 1e-9)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
@pytest.mark.parametrize("name", COMPARED)
def test_mlruns_numbers(tmp_path, name, ending):
    case = CASES[name]
    train, sample = files(tmp_path, case, ending)
    got = measured("--reference", train, "--sample", sample, "--edges", "mlrun")
    assert [k for k in got if k not in ("reason", "worst")] == ["general_drift", "status", "metrics", "features"]
    assert close(got["general_drift"], case["result"]["result_value"], "drift")
    for metric, value in case["metrics"].items():
        assert close(got["metrics"][metric], value, metric), metric
    assert set(got["metrics"]) == {"hellinger_mean", "kld_mean", "tvd_mean"}
    for feature, distances in case["metrics_per_feature"].items():
        assert list(got["features"][feature]) == ["tvd", "hellinger", "kld"]
        for distance, value in distances.items():
            assert close(got["features"][feature][distance], value, distance), (feature, distance)
    if case["result"]["result_value"] not in (None, "NaN"):
        assert got["status"] == case["result"]["result_status"]


@pytest.mark.parametrize("name", CRASHED)
def test_what_makes_mlruns_application_fail_has_an_answer(tmp_path, name):
    train, sample = files(tmp_path, CASES[name], "parquet")
    done = drift("--reference", train, "--sample", sample, "--edges", "mlrun")
    assert done.returncode == 0 and "general_drift" in done.stdout


def some(rows=400, seed=1, shift=0.0):
    r = numpy.random.default_rng(seed)
    return pandas.DataFrame({"age": r.normal(40 + shift, 10, rows), "on": r.random(rows) < 0.5,
                             "city": r.choice(["Rome", "Oslo", "Bern"], rows), "y": r.integers(0, 2, rows)})


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_identical_data_drifts_0(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    some().to_parquet(path) if ending == "parquet" else some().to_csv(path, index=False)
    got = measured("--reference", path, "--sample", path)
    assert got["general_drift"] == 0 and got["status"] == 0
    assert set(got["features"]) == {"age", "on", "city", "y"}
    assert all(v == 0 for f in got["features"].values() for v in f.values())


def test_the_table_tells_what_drifts_and_check_ends_a_build(tmp_path):
    some().to_csv(tmp_path / "a.csv", index=False)
    moved = some(seed=2, shift=500)
    moved["city"] = "Lima"
    moved["extra"] = 1
    moved.drop(columns="on").to_csv(tmp_path / "b.csv", index=False)
    args = ("--reference", tmp_path / "a.csv", "--sample", tmp_path / "b.csv", "--labels", "y")
    done = drift(*args)
    assert done.returncode == 0 and "█" in done.stdout and "\033" not in done.stdout
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "missing_column" in lines["on"] and "not in the reference" in lines["extra"] and "(output)" in lines["y"]
    assert lines["age"].split()[2] == "1.000" and "drift detected" in lines["general_drift"]
    assert "no drift" in lines["prediction_drift"]
    assert drift(*args, "--check").returncode == 3
    assert drift("--reference", tmp_path / "a.csv", "--sample", tmp_path / "a.csv", "--check").returncode == 0


def few_of_eight(rows=400, seed=1, shift=0.0):
    r = numpy.random.default_rng(seed)
    data = pandas.DataFrame({f"f{i}": r.normal(0, 1, rows) for i in range(6)})
    return data.assign(age=r.normal(40 + shift, 10, rows), y=r.normal(0, 1, rows))


def test_few_features_that_drift_are_named_beside_the_mean(tmp_path):
    few_of_eight().to_csv(tmp_path / "a.csv", index=False)
    few_of_eight(seed=2, shift=500).to_csv(tmp_path / "b.csv", index=False)
    args = ("--reference", tmp_path / "a.csv", "--sample", tmp_path / "b.csv", "--labels", "y")
    done = drift(*args)
    assert "no drift" in done.stdout and "1 of 7 features drifts: age 1.00" in done.stdout, done.stdout
    possible = drift(*args, "--detected", "0.9999", "--potential", "0.9998").stdout
    assert "1 of 7 features drifts: age" in possible or "1 of 7 features drifts possibly: age" in possible
    worst = measured(*args)["worst"]
    assert worst == {"compared": 7, "potential": 0, "detected": 1, "drift": pytest.approx(1), "feature": "age"}
    assert drift(*args, "--check").returncode == 0
    assert drift(*args, "--check", "--features").returncode == 3
    assert drift(*args, "--features").returncode == 2
    same = ("--reference", tmp_path / "a.csv", "--sample", tmp_path / "a.csv")
    assert drift(*same, "--check", "--features").returncode == 0 and "features drift" not in drift(*same).stdout


def test_a_check_that_cannot_be_made_does_not_let_a_build_go_on(tmp_path):
    data = few_of_eight()
    data.to_csv(tmp_path / "a.csv", index=False)
    samples = {"few": data[:10], "none": data[:0], "lacking": data.drop(columns=[f"f{i}" for i in range(5)])}
    for name, sample in samples.items():
        sample.to_csv(tmp_path / f"{name}.csv", index=False)
        done = drift("--reference", tmp_path / "a.csv", "--sample", tmp_path / f"{name}.csv", "--check")
        assert done.returncode == 4 and "--check" in done.stderr, (name, done)
        assert done.stdout.endswith(", 5 missing\n") == (name == "lacking"), done.stdout
    assert drift("--reference", tmp_path / "a.csv", "--sample", tmp_path / "few.csv").returncode == 0


def test_columns_that_cannot_be_compared_stop_a_build_and_are_named(tmp_path):
    data = few_of_eight()
    data.to_csv(tmp_path / "a.csv", index=False)
    data.assign(f0="text", f1=numpy.nan, f2=numpy.nan).to_csv(tmp_path / "b.csv", index=False)
    args = ("--reference", tmp_path / "a.csv", "--sample", tmp_path / "b.csv", "--labels", "y")
    for more in ((), ("--features",)):
        done = drift(*args, "--check", *more)
        assert done.returncode == 4 and "3 of 7 features cannot be compared" in done.stderr, done
    assert "3 of 7 features are not compared: f0 (wrong type), f1 (all missing), f2 (all missing)\n" in done.stdout
    assert drift(*args).returncode == 0
    assert measured(*args)["worst"]["not_compared"] == 3
    outputs = ("--reference", tmp_path / "a.csv", "--sample", tmp_path / "b.csv", "--labels", "f0,f1,f2,y")
    assert drift(*outputs, "--check").returncode == 0  # outputs are told apart


def test_text_of_too_many_different_values_is_not_compared(tmp_path):
    data = few_of_eight()
    for name, first in (("a", 0), ("b", 1000)):  # not one id in common
        data.assign(id=[f"order-{first + i}" for i in range(len(data))], city=["Rome", "Oslo"] * (len(data) // 2)).to_csv(
            tmp_path / f"{name}.csv", index=False)
    args = ("--reference", tmp_path / "a.csv", "--sample", tmp_path / "b.csv", "--labels", "y")
    lines = {line.split()[0]: line for line in drift(*args).stdout.splitlines() if line.strip()}
    assert lines["id"].endswith("too_many_values") and "0.000" in lines["city"]
    assert drift(*args, "--check", "--features").returncode == 0  # of the reference; the sample lacks nothing
    some = data.assign(city=[f"c{i % 90}" for i in range(len(data))])  # some are not kept, most are
    some.to_csv(tmp_path / "c.csv", index=False)
    assert measured("--reference", tmp_path / "c.csv", "--sample", tmp_path / "c.csv")["features"]["city"]["tvd"] == 0


def test_values_that_are_missing_more_often_are_told(tmp_path):
    data, now = few_of_eight(), few_of_eight(seed=2)
    data.loc[::50, "age"] = numpy.nan
    now.loc[now.index % 20 > 2, "age"] = numpy.nan
    now.loc[::30, "f0"] = numpy.nan  # 3 %
    data.to_csv(tmp_path / "a.csv", index=False)
    now.to_csv(tmp_path / "b.csv", index=False)
    shown = drift("--reference", tmp_path / "a.csv", "--sample", tmp_path / "b.csv", "--labels", "y").stdout
    line = next(text for text in shown.splitlines() if text.startswith("age"))
    assert line.endswith("(missing 2 % → 85 %)") and shown.count("missing") == 1, shown
    few = now[:20]  # 20 rows of which 2 are missing may be chance
    few = few.assign(age=data.age[1:21].where(few.index != 7).values)
    few.to_csv(tmp_path / "few.csv", index=False)
    assert "missing" not in drift("--reference", tmp_path / "a.csv", "--sample", tmp_path / "few.csv").stdout


def test_what_mlrun_has_no_numbers_for_is_explained(tmp_path):
    pandas.DataFrame({"a": range(100), "city": ["Oslo", "Rome"] * 50}).to_csv(tmp_path / "a.csv", index=False)
    same = ("--reference", tmp_path / "a.csv", "--sample", tmp_path / "a.csv")
    shown = drift(*same, "--edges", "mlrun", "--potential", ".1", "--detected", ".2").stdout
    assert "not_in_mlrun: MLRun has no histogram of a column with text" in shown and "--edges closed" in shown
    assert "not_in_mlrun" not in drift(*same).stdout


def test_text_of_a_file_cannot_command_a_terminal(tmp_path):
    pandas.DataFrame({"a\033[31mb": [1.0] * 40}).to_parquet(tmp_path / "a.parquet")
    assert "\033" not in drift("--reference", tmp_path / "a.parquet", "--sample", tmp_path / "a.parquet").stdout


def test_csv_as_people_have_it(tmp_path):
    plain, odd = tmp_path / "plain.csv", tmp_path / "odd.csv"
    data = some(3000)
    data.to_csv(plain, index=False)
    odd.write_bytes(b"\xef\xbb\xbf" + data.to_csv(index=False, sep=";", lineterminator="\r\n").encode())
    assert measured("--reference", plain, "--sample", odd)["general_drift"] == 0
    for sep, quoting in itertools.product(",;\t|", (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)):
        data.to_csv(odd, index=False, sep=sep, quoting=quoting)
        assert measured("--reference", plain, "--sample", odd)["general_drift"] == 0, (sep, quoting)
    late = data.astype(object)
    late = pandas.concat([data] * 20).astype(object).reset_index(drop=True)
    late.loc[len(late) - 1, "age"] = "unknown"  # after what is sniffed
    late.to_csv(tmp_path / "late.csv", index=False)
    done = drift("--reference", plain, "--sample", tmp_path / "late.csv")
    line = next(text for text in done.stdout.splitlines() if text.startswith("age"))
    assert "(1 of another type)" in line and done.returncode == 0
    assert measured("--reference", tmp_path / "late.csv", "--sample", plain)["features"]["age"]["tvd"] < 0.01


LINES = ["a,b,c"] + [f"{i},{i}.5,x" for i in range(300)]


@pytest.mark.parametrize("packed", (False, True))
@pytest.mark.parametrize("at, line, words", [
    (60, "59,5,9.5,x", "line 61: 4 fields, 3 expected"),
    (60, "59,5", "line 61: 2 fields, 3 expected"),
    (60, '59,5,"x', "line 61: a quote that does not end"),
    (0, "a", "line 2: 3 fields, 1 expected"),
    (0, "a;b;c", "line 2: 1 field, 3 expected"),
    (30000, "1,2,3,4", "line 30001: 4 fields, 3 expected"),  # after what is sniffed
])
def test_a_line_that_is_wrong_is_named_and_the_file_is_not_taken_for_another(tmp_path, at, line, words, packed):
    lines = LINES + LINES[1:] * 101 if at > len(LINES) else list(LINES)
    lines[at] = line
    good, bad = tmp_path / "good.csv", tmp_path / ("bad.csv.gz" if packed else "bad.csv")
    good.write_text("\n".join(LINES))
    text = ("\n".join(lines) + "\n").encode()
    bad.write_bytes(gzip.compress(text) if packed else text)
    for args in (("--reference", bad, "--sample", bad), ("--reference", good, "--sample", bad)):
        done = drift(*args)
        assert done.returncode == 1 and done.stdout == "" and f"{bad}: {words}\n" in done.stderr, done
    for args in (("reference", "shop/price", "--csv", bad, "--create"),
                 ("replay", bad, "--to", "http://127.0.0.1:1/shop", "--model", "m", "--outputs", "c")):
        done = subprocess.run([os.path.join(mm.BIN, "modelmon"), *map(str, args)], timeout=60, text=True, capture_output=True,
                              env={"PATH": os.environ["PATH"], "API_URL": "http://127.0.0.1:1"}, check=False)
        if at < len(LINES) or args[0] == "reference":  # a replay sends what is before the line
            assert done.returncode == 1 and words in done.stderr, done


def test_lines_that_are_odd_and_right(tmp_path):
    (tmp_path / "a.csv").write_text("\n".join(LINES))
    odd = [LINES[0], "", '"1","2.5","x"', '2,3.5,"a ""quote"", and a comma"', '3,4.5,a 5" pipe', "#4,5.5,x", '5,6.5,"two\nlines"', ""]
    (tmp_path / "b.csv").write_text("\r\n".join(odd + LINES[1:]))
    shown = drift("--reference", tmp_path / "a.csv", "--sample", tmp_path / "b.csv")
    assert shown.returncode == 0 and "sample 305 rows, 3 features compared" in shown.stdout, shown


def test_decimal_commas_are_numbers_where_semicolons_divide(tmp_path):
    r = numpy.random.default_rng(5)
    data = pandas.DataFrame({"area": r.uniform(0, 900000, 300).round(2), "room": r.uniform(0, 9, 300).round(1), "n": range(300)})
    points, commas, thousands, text = (tmp_path / f"{n}.csv" for n in ("points", "commas", "thousands", "text"))
    data.to_csv(points, index=False)
    data.to_csv(commas, index=False, sep=";", decimal=",")
    german = data.assign(area=[f"{x:,.2f}".translate(str.maketrans(",.", ".,")) for x in data.area])
    german.to_csv(thousands, index=False, sep=";", decimal=",")
    for one, other in itertools.permutations((points, commas, thousands), 2):
        got = measured("--reference", one, "--sample", other)
        assert got["general_drift"] == 0 and all(f["tvd"] == 0 for f in got["features"].values()) and len(got["features"]) == 3
    german.loc[::30, "area"] = "k.A."  # most of them decide, in a reference as in a sample
    german.to_csv(text, index=False, sep=";", decimal=",")
    assert "(10 of another type)" in drift("--reference", points, "--sample", text).stdout
    assert 0 < measured("--reference", text, "--sample", points)["features"]["area"]["tvd"] < 0.1
    late = pandas.concat([data.assign(room="1")] * 80 + [data])  # after what is sniffed
    late.to_csv(text, index=False, sep=";", decimal=",")
    assert measured("--reference", text, "--sample", points)["features"]["area"]["tvd"] < 0.01
    words = pandas.DataFrame({"area": ["1,5 rooms", "Main St 4, left"] * 150, "n": range(300)})
    words.to_csv(text, index=False, sep=";")
    assert "wrong_type" in drift("--reference", points, "--sample", text).stdout


@pytest.mark.parametrize("separator", [",", "\t", "|"])
def test_decimal_commas_where_no_semicolon_divides(tmp_path, separator):
    data = pandas.DataFrame({"a": [k + 0.5 for k in range(300)], "n": range(300)})
    points, commas, thousands = (tmp_path / f"{n}.csv" for n in ("points", "commas", "thousands"))
    data.to_csv(points, index=False)
    data.to_csv(commas, index=False, sep=separator, decimal=",")
    assert measured("--reference", points, "--sample", commas)["general_drift"] == 0
    data.assign(a=[f"{1000 + k:,}" for k in range(300)]).to_csv(thousands, index=False, sep=separator)
    assert "wrong_type" in drift("--reference", points, "--sample", thousands).stdout  # 1,234 is not 1.234


def test_times_are_text_that_is_not_compared_when_it_is_too_much(tmp_path):
    data = pandas.DataFrame({"a": range(300), "at": pandas.date_range("2025-01-01", periods=300, freq="h"),
                             "day": pandas.to_datetime(["2025-01-01", "2025-01-02"] * 150)})
    one, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    data.to_parquet(one)
    data.assign(at=data["at"] + pandas.Timedelta(days=400), day=pandas.Timestamp("2026-01-01")).to_parquet(other)
    lines = {line.split()[0]: line for line in drift("--reference", one, "--sample", other).stdout.splitlines() if line}
    assert "too_many_values" in lines["at"] and "1.000" in lines["day"], lines


def test_the_index_that_pandas_wrote_is_told(tmp_path):
    data = pandas.DataFrame({"a": range(300)})
    data.to_csv(tmp_path / "index.csv")
    data.to_csv(tmp_path / "none.csv", index=False)
    told = drift("--reference", tmp_path / "index.csv", "--sample", tmp_path / "index.csv")
    assert told.returncode == 0 and told.stderr.count("index=False") == 2, told
    assert not drift("--reference", tmp_path / "none.csv", "--sample", tmp_path / "none.csv").stderr


@pytest.mark.parametrize("yes, no", [("true", "false"), ("True", "False"), ("yes", "no"), ("t", "f")])
def test_a_column_of_true_and_false_is_the_numbers_1_and_0(tmp_path, yes, no):
    for name, share, words in (("words", 4, {0: no, 1: yes}), ("numbers", 4, {0: 0, 1: 1}), ("other", 2, {0: no, 1: yes})):
        pandas.DataFrame({"a": range(400), "flag": [words[int(i % share == 0)] for i in range(400)]}).to_csv(tmp_path / f"{name}.csv", index=False)
    paths = {name: tmp_path / f"{name}.csv" for name in ("words", "numbers", "other")}
    assert measured("--reference", paths["words"], "--sample", paths["numbers"])["features"]["flag"]["tvd"] == 0
    moved = [measured("--reference", paths[name], "--sample", paths["other"])["features"]["flag"] for name in ("words", "numbers")]
    assert moved[0] == moved[1] and abs(moved[0]["tvd"] - 0.25) < 1e-9


@pytest.mark.parametrize("content,words", [
    ("städt,b\n1,2\n".encode("latin-1"), "it is not UTF-8; `iconv -f WINDOWS-1252 -t UTF-8 FILE"),
    ("a,b\n1,Köln\n".encode("latin-1"), "it is not UTF-8; `iconv -f WINDOWS-1252 -t UTF-8 FILE"),
    ("a,b\n1,Köln\n".encode("utf-16"), "it is not UTF-8; `iconv -f UTF-16 -t UTF-8 FILE"),
    (b"", "the file is empty"),
    (b"1.5,2\n3,4\n", "line 1: 1.5 is a value, the names of the columns are wanted"),
    (b"a,b\n1,2\n3,4,5,6\n" * 2, "b.csv"),
    (b"PAR1 nonsense", "b.csv"),
    (b"x,z\n1,2\n", "no column of"),
])
def test_files_that_are_none(tmp_path, content, words):
    pandas.DataFrame({"a": range(50), "b": range(50)}).to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "b.csv").write_bytes(content)
    done = drift("--reference", tmp_path / "a.csv", "--sample", tmp_path / "b.csv")
    assert done.returncode == 1 and done.stdout == "" and words in done.stderr and done.stderr.count("\n") == 1
    assert drift("--reference", tmp_path / "a.csv", "--sample", tmp_path).returncode == 1
    gone = drift("--reference", tmp_path / "gone.csv", "--sample", tmp_path / "a.csv")
    assert gone.returncode == 1 and "No such file" in gone.stderr


def test_usage():
    assert drift().returncode == 2 and "REFERENCE" in drift().stderr
    assert drift("--reference", "a", "--sample", "b", "--egdes", "mlrun").returncode == 2
    assert drift("--reference", "a", "--sample", "b", "--potential", "0.9").returncode == 2
    near = drift("--ref", "a", "--sample", "b")
    assert near.returncode == 2 and "--ref: no such option; did you mean --reference?" in near.stderr and "operands" not in near.stderr
    shown = drift("--help")
    assert shown.returncode == 0 and "--min-samples VALUE" in shown.stdout and "Exit codes" in shown.stdout
