"""A worker that lives is taken for dead: whatever it does then, the books must balance."""

from dataclasses import replace

import pytest

from billing.ledger import post
from billing.models import Holding, Worker
from billing.workers import retire
from keys.errors import ServiceUnavailableError
from tests.billing.ledger_samples import entry
from tests.billing.limit_world import (
    NOW,
    admit,
    held,
    idle_on,
    make_caller,
    make_limit,
    make_team,
    make_worker,
    open_limits,
    running,
    taken,
    tokens,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world():
    team = make_team()
    return make_limit(team, "tokens", "day", 100), make_caller(team), make_worker()


def test_what_it_gives_back_was_given_back_already(world):
    limit, caller, worker = world
    limits, other = open_limits(worker), open_limits()
    with running(other) as runner:
        runner.run(admit(other, caller, tokens(50)))
        runner.run(idle_on(limits, caller, 40))
        retire(worker.pk)
        runner.run(limits.close())
        assert taken(limit) == held(limit) == 50


def test_it_is_granted_nothing_more(world):
    limit, caller, worker = world
    limits = open_limits(worker)
    with running(limits) as runner:
        runner.run(idle_on(limits, caller, 40))
        retire(worker.pk)
        with pytest.raises(ServiceUnavailableError):
            runner.run(admit(limits, caller, tokens(90)))
    assert (taken(limit), held(limit)) == (0, 0)


def test_what_it_posts_is_counted(world):
    limit, caller, worker = world
    limits = open_limits(worker)
    with running(limits) as runner:
        reservation = runner.run(admit(limits, caller, tokens(40)))
        retire(worker.pk)
        charges = limits.settle(reservation, tokens=30, cost_nano_usd=0)
        spent = replace(
            entry(team_id=caller.team_id, key_id=caller.key_id, charges=charges),
            started_at=NOW,
            input_tokens=30,
            output_tokens=0,
        )
        post([spent], worker_id=worker.pk)
        limits.posted(charges)
    assert (taken(limit), held(limit)) == (30, 0)
    assert not Worker.objects.exists()
    assert not Holding.objects.exists()
