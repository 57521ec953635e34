"""An administrator, and browsers that are signed in or not."""

import pytest
from django.test import Client

from keys.accounts import create_administrator
from keys.models import Team, User

PASSWORD = "correct-horse-battery"


@pytest.fixture(autouse=True)
def _quick_passwords(settings):
    """A good hash takes a third of a second, on purpose; most tests are about something else."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def administrator(db) -> User:
    user, _ = create_administrator("ada", PASSWORD)
    return user


@pytest.fixture
def console(administrator) -> Client:
    client = Client()
    client.force_login(administrator)
    return client


@pytest.fixture
def research(db) -> Team:
    return Team.objects.create(name="research", timezone="Europe/Paris")
