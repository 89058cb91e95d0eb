"""Shard files: whole or absent, and finished only for the job that finished them."""

import errno
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import shards
from pipeline.core.errors import EnvironmentFault

SCHEMA = pa.schema([("name", pa.string()), ("tags", pa.list_(pa.string())), ("size", pa.int64())])


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = shards.write_bytes(tmp_path / "a" / "file", b"old")
    with pytest.raises(TypeError):
        shards.write_bytes(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_private_files_are_private_from_the_first_byte(tmp_path: Path) -> None:
    path = shards.write_bytes(tmp_path / "key", b"secret", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_is_the_machines_fault_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="the disk is full") as caught, shards.machine_faults_named(tmp_path):
        Path("/dev/full").write_bytes(b"x")
    assert caught.value.exit_code == 3
    with pytest.raises(OSError) as other, shards.machine_faults_named(tmp_path):
        raise OSError(errno.EIO, "input/output error")
    assert not isinstance(other.value, EnvironmentFault)


def test_a_shard_is_finished_only_for_its_own_job(tmp_path: Path) -> None:
    part = shards.part_path(tmp_path, 7)
    assert part.name == "part-00007.parquet"
    assert not shards.is_finished(part, "key")
    shards.write_bytes(part, b"data")
    assert not shards.is_finished(part, "key"), "written, but not recorded"
    shards.finish(part, "key", rows=3)
    assert shards.is_finished(part, "key")
    assert not shards.is_finished(part, "another key")
    assert shards.completion(part)["rows"] == 3
    part.unlink()
    assert not shards.is_finished(part, "key"), "recorded, but gone"


rows = st.lists(st.tuples(st.text(), st.lists(st.text(), max_size=3), st.integers(-(2**63), 2**63 - 1)), max_size=8)


@given(rows)
def test_tables_come_back_as_written_and_equal_tables_give_equal_bytes(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[str, list[str], int]]
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    table = pd.DataFrame(values, columns=["name", "tags", "size"])
    one = shards.write_table(folder / "part-00000.parquet", table, SCHEMA)
    two = shards.write_table(folder / "other.parquet", table, SCHEMA)
    assert one.read_bytes() == two.read_bytes()
    back = shards.read_parts(folder)
    assert [(name, list(tags), size) for name, tags, size in back.itertuples(index=False)] == values
