"""Places to crash at (common/base/crash.h): the table is the sources', and what is shipped has none of it."""
import os
import re

import mm


def sources():
    for top in ("common", "services"):
        for folder, _, names in os.walk(os.path.join(mm.ROOT, top)):
            for name in names:
                if name.endswith(".c"):
                    with open(os.path.join(folder, name), encoding="utf-8") as f:
                        yield f.read()


def test_each_row_is_a_place_and_each_place_a_row():
    with open(os.path.join(mm.ROOT, "common/base/crash.h"), encoding="utf-8") as f:
        rows = re.findall(r"^\s+X\((\w+)\)", f.read(), re.M)
    places = [name for text in sources() for name in re.findall(r"\bCRASH_POINT\((\w+)\)", text)]
    assert len(rows) == len(set(rows)) >= 40
    assert set(rows) == set(places)


def test_what_is_shipped_does_not_look_for_one():
    for name in os.listdir(mm.BIN):
        with open(os.path.join(mm.BIN, name), "rb") as f:
            assert b"MM_CRASH_AT" not in f.read(), name
