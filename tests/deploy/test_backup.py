import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.backup import archive, keeping
from deploy.backup.database import BackupError
from deploy.backup.postgres import parse_sql
from deploy.backup.sqlite import ARTIFACT_COLUMNS, PLACEHOLDER, Sqlite
from deploy.backup.stack import tar

SQL = r"""
SET client_encoding = 'UTF8';
COPY public.model_version_tags (key, value, name, version) FROM stdin;
weights_sha256	abc	sentiment	2
accuracy	0.8	sentiment	2
\.
COPY public.review (id, text) FROM stdin;
1	COPY public.other (id) FROM stdin;
2	two\nlines
\.
COPY public.empty (id) FROM stdin;
\.
"""


def test_a_dump_yields_row_counts_and_registry_rows() -> None:
    contents = parse_sql(SQL.splitlines())
    assert contents.counts == {"model_version_tags": 2, "review": 2, "empty": 0}
    assert archive.weight_hashes(contents) == {"2": "abc"}


def test_a_truncated_dump_is_rejected() -> None:
    with pytest.raises(BackupError, match="truncated inside a table"):
        parse_sql(SQL.splitlines()[:-4])


@pytest.fixture
def registry(tmp_path: Path) -> Sqlite:
    """A database with every column of artifact URIs; the path of its artifact folder contains a space."""
    registry = Sqlite(tmp_path / "my var" / "mlflow.db", tmp_path / "my var" / "mlartifacts")
    registry.path.parent.mkdir()
    tables: dict[str, list[str]] = {}
    for table, column in ARTIFACT_COLUMNS:
        tables.setdefault(table, []).append(column)
    with sqlite3.connect(registry.path) as database:
        for table, columns in tables.items():
            database.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
            inside = [f"{registry.artifacts.as_uri()}/1/{table}"] * len(columns)
            database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", inside)  # noqa: S608
        database.execute("INSERT INTO runs VALUES (?)", [f"{registry.artifacts.as_uri()}-of-another/1"])
        database.execute("CREATE TABLE registered_model_aliases (name, alias, version)")
        database.execute("CREATE TABLE model_version_tags (name, key, value, version)")
        database.execute("INSERT INTO registered_model_aliases VALUES ('sentiment', 'champion', 3)")
    database.close()
    return registry


def test_a_restore_rewrites_artifact_uris(registry: Sqlite, tmp_path: Path) -> None:
    registry.dump(dump := tmp_path / "dump.db")
    assert archive.aliases(registry.read(dump)) == {"champion": "3"}
    elsewhere = Sqlite(tmp_path / "other" / "mlflow.db", tmp_path / "other" / "mlartifacts")
    assert elsewhere.counts() == {}
    elsewhere.restore(dump)
    assert elsewhere.counts() == registry.counts()
    with sqlite3.connect(elsewhere.path) as database:
        for table, column in ARTIFACT_COLUMNS:
            (first, *_) = database.execute(f"SELECT {column} FROM {table}").fetchone()  # noqa: S608
            assert first == f"{elsewhere.artifacts.as_uri()}/1/{table}"
        assert database.execute("SELECT artifact_uri FROM runs").fetchall()[1] == (
            f"{registry.artifacts.as_uri()}-of-another/1",
        ), "only URIs inside the folder change"
    database.close()
    assert PLACEHOLDER not in elsewhere.path.read_bytes().decode(errors="ignore").split("CREATE")[0]


def test_a_missing_or_damaged_registry_is_reported(registry: Sqlite, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"train a model first \(`make repro`\)"):
        Sqlite(tmp_path / "none.db", tmp_path).dump(tmp_path / "dump.db")
    registry.dump(dump := tmp_path / "dump.db")
    dump.write_bytes(dump.read_bytes()[: 4096 * 2])
    with pytest.raises(BackupError, match=r"dump\.db"):
        registry.read(dump)


@pytest.fixture
def gpg_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A new key pair in a keyring of its own; its path must be short enough for the agent's socket."""
    if not shutil.which("gpg"):
        pytest.skip("needs gpg: apt-get install gpg")
    with tempfile.TemporaryDirectory(prefix="gpg-", ignore_cleanup_errors=True) as home:
        monkeypatch.setenv("GNUPGHOME", home)
        words = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "ops@test"]
        subprocess.run([*words, "future-default", "default", "never"], check=True, capture_output=True)
        yield "ops@test"
        subprocess.run(["gpgconf", "--kill", "all"], check=True)


@pytest.mark.process
def test_an_encrypted_backup_is_opened_by_its_key_only(tmp_path: Path, gpg_key: str) -> None:
    (folder := tmp_path / "20261128T031500Z").mkdir()
    (folder / "reviews.dump").write_bytes(b"a secret text" * 100_000)
    with pytest.raises(BackupError, match=r"gpg cannot encrypt for nobody@test: .*is not encrypted"):
        keeping.encrypt(folder, "nobody@test")
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    file = keeping.encrypt(folder, gpg_key)
    assert not folder.exists()
    assert b"a secret text" not in file.read_bytes()
    # The command of docs/how-to/promote-and-serve.md.
    subprocess.run(["bash", "-c", f"gpg --decrypt {file} | tar -x -C {tmp_path}"], check=True)
    assert (folder / "reviews.dump").stat().st_size == 1_300_000


def test_only_the_newest_backups_are_kept(tmp_path: Path) -> None:
    for name in ("20261126T031500Z", "20261128T031500Z", "before-the-move"):
        (tmp_path / name).mkdir()
    (tmp_path / "20261127T031500Z.tar.gpg").touch()
    keeping.prune(tmp_path, keep=2)
    kept = ["20261127T031500Z.tar.gpg", "20261128T031500Z", "before-the-move"]
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


@pytest.mark.process
def test_a_backup_accepts_files_that_change_while_tar_reads_them(tmp_path: Path) -> None:
    changing = tmp_path / "model.bin"
    changing.write_bytes(b"1" * 2**21)
    with subprocess.Popen(tar(str(tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(1)  # tar is in the middle of the file and waits for the pipe
        with changing.open("ab") as file:
            file.write(b"2" * 1000)
        process.stdout.read()
        assert b"file changed as we read it" in process.stderr.read()
    assert process.returncode == 0
    assert subprocess.run(tar(str(tmp_path / "missing")), capture_output=True).returncode != 0


def test_a_truncated_tar_is_reported(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x" * 100_000)
    with tarfile.open(tmp_path / "artifacts.tar", "w") as written:
        written.add(tmp_path / "model.bin", "model.bin")
    assert archive.file_hashes(tmp_path / "artifacts.tar") == {archive.sha256(tmp_path / "model.bin")}
    content = (tmp_path / "artifacts.tar").read_bytes()
    (tmp_path / "artifacts.tar").write_bytes(content[:50_000])
    with pytest.raises(BackupError, match=r"artifacts\.tar cannot be read"):
        archive.file_hashes(tmp_path / "artifacts.tar")
