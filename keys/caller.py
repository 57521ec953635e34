"""Who is calling: the one fact that authentication hands to the other rooms."""

from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated API key with its team, as they were when the key was read.

    Attributes:
        timezone: IANA name of the team's zone; "UTC" where none is set.
        team_models, key_models: names the team and the key may call, `*` allowed in them;
            None means all. A call must pass both.
        allowed_ips: empty means any address.
        tags: sorted (name, value) pairs that every call of the key carries.
    """

    key_id: int
    key_name: str
    key_prefix: str
    team_id: int
    team_name: str
    timezone: str
    team_models: tuple[str, ...] | None = None
    key_models: tuple[str, ...] | None = None
    allowed_ips: tuple[IPv4Network | IPv6Network, ...] = ()
    expires_at: datetime | None = None
    tags: tuple[tuple[str, str], ...] = ()
    log_bodies: bool = False

    def may_call(self, model: str) -> bool:
        return all(
            allowed is None or any(fnmatchcase(model, pattern) for pattern in allowed)
            for allowed in (self.team_models, self.key_models)
        )
