"""The uncommitted changes as one patch, and the untracked files that are too large or no text for it.

The patch begins with a line for each file that it leaves out, which `git apply` ignores. The sha256 of the
patch therefore identifies the state of the folder, including these files.
"""

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pipelines.core.errors import PipelineError
from pipelines.core.wheels import sha256

# params.yaml is stored whole. The pipeline itself rewrites the others.
PARAMS = "params.yaml"
NOT_WRITTEN_BY_DVC = (":!dvc.lock", ":!results")

FILE_BYTES = 2**20
TOTAL_BYTES = 10 * 2**20
"""Limits of one untracked file, and of all in a patch."""
LISTED = 1000
"""The number of left-out files that are listed; of the others, the patch has a hash."""

_LEFT_OUT = b"# left out: "
_LEFT_OUT_MORE = b"# left out as well: "
# As in git, a file with a NUL in its first bytes is binary.
_SNIFFED_BYTES = 8000


@dataclass(frozen=True)
class LeftOut:
    """An untracked file that is not in the patch; `path` is relative to the project."""

    path: str
    size: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.path} ({self.size:,} bytes, sha256 {self.sha256[:12]})"


def uncommitted() -> bytes:
    """Return the changes since the commit as a patch for `git apply`, including new and deleted files.

    Ignored files and params.yaml are left out silently. Untracked files that are binary or exceed the limits
    are listed in the first lines. The patch is empty if there is no change. A temporary index and object
    folder leave the user's index untouched. Raises PipelineError if git fails.
    """
    objects = Path(os.fsdecode(_git("rev-parse", "--git-path", "objects")).strip()).resolve()
    pathspec = ("--", ".", *NOT_WRITTEN_BY_DVC, f":!{PARAMS}")
    with tempfile.TemporaryDirectory() as scratch:
        temporary = {
            "GIT_INDEX_FILE": f"{scratch}/index",
            "GIT_OBJECT_DIRECTORY": scratch,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(objects),
        }
        _git("read-tree", "HEAD", env=temporary)
        _git("add", "--update", *pathspec, env=temporary)
        listed = _git("ls-files", "--others", "--exclude-standard", "-z", *pathspec, env=temporary)
        taken, left_out = divide(os.fsdecode(name) for name in listed.split(b"\0") if name)
        names = b"\0".join(map(os.fsencode, taken))
        _git("update-index", "--add", "-z", "--stdin", env=temporary, stdin=names)
        # Plumbing commands ignore user settings such as diff.noprefix or an external diff.
        patch = _git("diff-index", "-p", "--cached", "--binary", "HEAD", env=temporary)
    return header(left_out) + patch


def divide(paths: Iterable[str]) -> tuple[list[str], list[LeftOut]]:
    """Divide untracked files into those that the patch takes and those that it leaves out."""
    taken: list[str] = []
    left_out: list[LeftOut] = []
    total = 0
    for path in paths:
        try:
            size = os.lstat(path).st_size
            if is_text(path) and size <= FILE_BYTES and total + size <= TOTAL_BYTES:
                taken.append(path)
                total += size
            else:
                left_out.append(LeftOut(path, size, sha256(Path(path))))
        except FileNotFoundError:
            continue  # it has just been deleted
        except OSError:  # a folder with its own repository, or a file that the user may not read
            left_out.append(LeftOut(path, 0, "unknown"))
    return taken, left_out


def is_text(path: str) -> bool:
    """Return whether git would take the file for text; the target of a symbolic link is."""
    if os.path.islink(path):
        return True
    with open(path, "rb") as file:
        return b"\0" not in file.read(_SNIFFED_BYTES)


def header(left_out: list[LeftOut]) -> bytes:
    """Return the lines of the patch that list the files it leaves out."""
    lines = [json.dumps(asdict(file)).encode() for file in left_out]
    text = b"".join(_LEFT_OUT + line + b"\n" for line in lines[:LISTED])
    if more := lines[LISTED:]:
        digest = hashlib.sha256(b"\n".join(more)).hexdigest()
        text += _LEFT_OUT_MORE + f"{len(more)} files, sha256 of their list {digest}\n".encode()
    return text


def split(patch: bytes) -> tuple[list[str], bytes]:
    """Return the descriptions of the files that the patch leaves out, and the changes that it has."""
    left_out, start = [], 0
    while patch.startswith((_LEFT_OUT, _LEFT_OUT_MORE), start):
        end = patch.index(b"\n", start)
        kind, _, text = patch[start:end].partition(b": ")
        left_out.append(str(LeftOut(**json.loads(text))) if kind + b": " == _LEFT_OUT else text.decode())
        start = end + 1
    return left_out, patch[start:]


def _git(*words: str, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> bytes:
    run = subprocess.run(["git", *words], capture_output=True, input=stdin, env=os.environ | dict(env or {}))
    if run.returncode:
        reason = run.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        raise PipelineError(f"git cannot list uncommitted changes: {reason[0]}; see `git status`")
    return run.stdout
