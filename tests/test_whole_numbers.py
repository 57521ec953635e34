"""No binary fraction comes near money: in no module through which an amount passes."""

import ast
import random
from decimal import Decimal
from pathlib import Path

import pytest

from billing.pricing import LARGEST_NANO_USD, Price, cost, format_usd, parse_usd
from billing.usage import Usage

ROOT = Path(__file__).resolve().parents[1]
# Of billing everything, but for these and for alerts, which compare shares of a ceiling; of
# routing what counts, bounds, charges and shows.
EXCLUDED = {
    "billing/admin_forms": "shares of a ceiling, for alerts, typed in by an administrator",
    "billing/limit_edits": "the same shares, on their way to their column",
    "billing/sample_rows": "random token counts of made-up rows; their cost is `pricing.cost`",
    "routing/wire/usage_reading": "a provider may report 12.0: it is made whole right there",
}
PASSED_BY_MONEY = [
    *sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / "billing").glob("*.py")
        if f"billing/{path.stem}" not in EXCLUDED and not path.stem.startswith("alert_")
    ),
    *(
        f"routing/{name}.py"
        for name in (
            "call_bound", "fallback", "pipeline", "running_call", "settlement", "streaming",
            "gateway_api/responses", "provider_failures", "wire/bridge", "wire/call",
            "wire/input_bound", "wire/output_estimate",
        )
    ),
]  # fmt: skip
# A duration is no money: these are names of seconds, or functions that return them.
DURATIONS = {
    "_aside_until", "_until", "began", "monotonic", "retry_after_seconds", "seconds",
    "timeout_seconds", "_bounded", "_pause", "_until_reset", "wait",
}  # fmt: skip


def fractions_in(source: str) -> list[int]:
    """Lines where a binary fraction is written, made, named or divided into being."""
    tree = ast.parse(source)
    excused = {id(node) for named in ast.walk(tree) for node in _excused(named)}
    return sorted(
        node.lineno
        for node in ast.walk(tree)
        if id(node) not in excused
        and (
            (isinstance(node, ast.Constant) and isinstance(node.value, float | complex))
            or (isinstance(node, ast.Name) and node.id == "float")
            or (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div))
        )
    )


def _excused(node: ast.AST) -> list[ast.AST]:
    """What belongs to a duration by its name, and paths, which are joined by `/`."""
    if isinstance(node, ast.arg) and _is_duration(node.arg) and node.annotation:
        return list(ast.walk(node.annotation))
    if isinstance(node, ast.AnnAssign | ast.Assign):
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        return list(ast.walk(node)) if all(_is_duration(_name(one)) for one in targets) else []
    if isinstance(node, ast.FunctionDef) and node.name in DURATIONS:
        return list(ast.walk(node))
    if isinstance(node, ast.BinOp):
        right = node.right
        named = isinstance(right, ast.Name) and right.id.endswith("_NAME")
        text = isinstance(right, ast.Constant) and isinstance(right.value, str)
        return [node] if named or text or isinstance(right, ast.JoinedStr) else []
    return []


def _is_duration(name: str) -> bool:
    return name in DURATIONS or name.endswith("_SECONDS")


def _name(target: ast.expr) -> str:
    if isinstance(target, ast.Attribute):
        return target.attr
    return target.id if isinstance(target, ast.Name) else ""


@pytest.mark.parametrize("module", PASSED_BY_MONEY)
def test_G6_no_module_that_money_passes_touches_a_binary_fraction(module):
    assert fractions_in((ROOT / module).read_text()) == []


def test_the_search_finds_what_it_is_for():
    found = "a = 1.5\nb = float(a)\nc = a / 2\nc /= 3\ndef f(cost: float) -> int: ...\nd: float"
    assert fractions_in(found) == [1, 2, 3, 4, 5, 6]
    excused = 'def f(began: float, *, x=p / "a") -> int: ...\nWAIT_SECONDS = 0.5'
    assert fractions_in(excused) == []


@pytest.mark.parametrize("name", EXCLUDED)
def test_what_is_excluded_is_there_and_needs_it(name):
    assert fractions_in((ROOT / f"{name}.py").read_text()) != []


def test_G6_100_000_random_charges_add_up_to_the_last_nano_dollar():
    add_up(100_000)


@pytest.mark.faults
@pytest.mark.once
def test_G6_1_000_000_random_charges_add_up_to_the_last_nano_dollar():
    add_up(1_000_000)


def add_up(count: int) -> None:
    """Charges one by one, against an oracle that works in whole pico-units of its own."""
    rng = random.Random(6)  # noqa: S311 - reproducible cases, not secrets
    balance = oracle = 0
    written = Decimal(0)
    for number in range(count):
        input_tokens, output_tokens = rng.getrandbits(20), rng.getrandbits(17)
        cached = min(rng.getrandbits(19), input_tokens)
        price = Price(
            id=1,
            input=rng.getrandbits(36),
            cached_input=rng.getrandbits(34),
            output=rng.getrandbits(38),
        )
        charged = cost(Usage(input_tokens, cached, output_tokens=output_tokens), price)
        exact = (
            (input_tokens - cached) * price.input
            + cached * (price.cached_input or 0)
            + output_tokens * price.output
        )
        balance += charged
        oracle += _half_even(exact)
        assert 0 <= charged <= LARGEST_NANO_USD
        if number % 100 == 0:
            assert parse_usd(format_usd(charged)) == charged
            written += Decimal(format_usd(charged)) * 10**9 - charged
    assert balance == oracle
    assert written == 0


def _half_even(millionths: int) -> int:
    """To whole units; a half goes to the even one."""
    return (2 * millionths + 999_999 + (millionths // 1_000_000) % 2) // 2_000_000
