"""A short campaign of every kind of fault, with a fresh seed, and what makes the failpoints safe to have."""

from __future__ import annotations

import random
import re

import pytest

from harness.agent import binary
from harness.campaign.__main__ import campaign, failpoints, parse_stack
from harness.campaign.faults import KINDS, SINK_POINTS, STREAM_POINTS, deck
from harness.campaign.rounds import Plan
from harness.campaign.world import Choice
from harness.processes import Lab
from harness.site import Stack


def test_one_fault_of_every_kind(stack: Stack, lab: Lab) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    program = failpoints()
    assert program is not None, "failpoints need the debug build: swift build --build-tests"
    version, client = parse_stack(stack.name)
    plan = Plan(seed, len(KINDS), list(KINDS), check_every=len(KINDS), rate=30, failpoints=program)
    result = campaign(Choice(version, client, 1), plan, lab)
    print(result.line(stack.name))
    assert result.clean, "\n".join(result.findings)
    assert set(result.broken) == set(KINDS) and result.numbers["changes"] > 1000
    assert not any(result.zeros.values())


def test_a_seed_gives_the_same_faults_again() -> None:
    kinds = list(KINDS)
    cards = deck(kinds, 200, random.Random(7))
    assert cards == deck(kinds, 200, random.Random(7)) != deck(kinds, 200, random.Random(8))
    assert set(cards[: len(kinds)]) == set(kinds) and len(cards) == 200


def test_a_release_knows_no_failpoints() -> None:
    program = failpoints()
    assert program is not None
    names = {name.decode() for name in re.findall(rb"failpoint-((?:before|after)-[a-z]+)", program.read_bytes())}
    assert names == {*STREAM_POINTS, *SINK_POINTS}, "the campaign knows every name that the code has"
    if binary() == program or binary().parent.name == "debug":
        pytest.fail("this needs the release build: swift build -c release --static-swift-stdlib --product sluice")
    assert b"failpoint-" not in binary().read_bytes()
