"""A team and one of its keys, for tests that do not care which."""

import pytest

from keys.caller import Caller
from keys.models import Team
from tests.billing.limit_world import make_caller, make_team


@pytest.fixture
def team(db: None) -> Team:
    return make_team()


@pytest.fixture
def caller(team: Team) -> Caller:
    return make_caller(team)
