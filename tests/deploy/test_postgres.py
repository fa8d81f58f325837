import os
import stat
import tempfile
from pathlib import Path

import pytest

from deploy.local.postgres import allow_traversal, unprivileged_account


@pytest.mark.process
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives PostgreSQL another account")
@pytest.mark.parametrize(("before", "after"), [(0o700, 0o710), (0o750, 0o751), (0o755, 0o755)])
def test_only_the_account_of_postgres_may_enter_a_private_home(before: int, after: int) -> None:
    account = unprivileged_account()
    assert account
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(before)
        for _ in range(2):  # the second time nothing is left to do
            allow_traversal(home / "clone", account)
            assert stat.S_IMODE(home.stat().st_mode) == after
        assert home.stat().st_gid == (account.pw_gid if before == 0o700 else os.getgid())
