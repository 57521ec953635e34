import stat
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from gateway_project.environment import BadVariableError
from gateway_project.stored_secrets import stored_secret


def test_a_secret_is_made_once_and_only_its_owner_reads_it(tmp_path):
    path = tmp_path / "data" / "secret_key"
    assert stored_secret(path, lambda: "first") == "first"
    assert stored_secret(path, lambda: "second") == "first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_many_starts_at_once_agree_on_one_secret(tmp_path):
    numbers = count()
    with ThreadPoolExecutor(16) as pool:
        secrets = list(
            pool.map(
                lambda _: stored_secret(tmp_path / "key", lambda: f"secret-{next(numbers)}"),
                range(64),
            )
        )
    assert len(set(secrets)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_an_empty_file_is_never_taken_for_a_secret(tmp_path):
    (tmp_path / "key").touch()
    with pytest.raises(BadVariableError, match="key is empty"):
        stored_secret(tmp_path / "key", lambda: "new")
