"""What applying a file changed, gathered on the way, and the one way that a row is compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.core.exceptions import ValidationError
from django.db.models import Model

from gateway_project.config_file.document import ConfigError

# Where a field of the tables has another name in the file.
_NAMES_IN_FILE = {"allowed_models": "models", "upstream_model": "model", "credential": "api_key"}


@dataclass(slots=True)
class Report:
    """Attributes: secrets: `team/key: secret` of each key that was made without one."""

    changes: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list, repr=False)

    def added(self, what: str) -> None:
        self.changes.append(f"+ {what}")

    def removed(self, what: str) -> None:
        self.changes.append(f"- {what}")

    def changed(self, what: str, differences: list[str]) -> None:
        if differences:
            self.changes.append(f"~ {what}: {', '.join(differences)}")


def assign(row: Model, values: Mapping[str, object]) -> list[str]:
    """Set fields of a row, not saving it; says which of them differed."""
    differences = []
    for name, value in values.items():
        present = getattr(row, name)
        if present != value:
            differences.append(f"{_in_file(name)} {_shown(present)} → {_shown(value)}")
            setattr(row, name, value)
    return differences


def check(row: Model, path: str) -> None:
    """Raises ConfigError with the field's path where the row is no good."""
    try:
        row.full_clean()
    except ValidationError as error:
        raise refusal(error, path) from None


def refusal(error: ValidationError, path: str) -> ConfigError:
    if not hasattr(error, "error_dict"):
        return ConfigError(path, " ".join(error.messages))
    name, messages = next(iter(error.message_dict.items()))
    place = path if name == "__all__" else f"{path}.{_in_file(name)}"
    return ConfigError(place, " ".join(messages))


def _in_file(name: str) -> str:
    return _NAMES_IN_FILE.get(name, name)


def _shown(value: object) -> str:
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, list):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value)
