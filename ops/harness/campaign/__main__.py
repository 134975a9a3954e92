"""`ops/campaign/run`: breaks what can break, under load, and counts."""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import random
import re
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ..agent import Agent, binary
from ..kafka import REPOSITORY
from ..processes import Lab
from . import rounds
from .faults import KINDS, LONELY, POINTS
from .rounds import Plan, Result
from .world import Choice, World

def failpoints() -> Path | None:
    """`SLUICE_FAILPOINTS_BIN`, else what `SLUICE_FAILPOINTS=1 swift build -c release --build-path .build/failpoints` makes, else the
    debug build, else none."""
    named = os.environ.get("SLUICE_FAILPOINTS_BIN")
    build = REPOSITORY / ".build"
    candidates = [Path(named)] if named else [build / "failpoints" / "release" / "sluice", build / "debug" / "sluice"]
    return next((path for path in candidates if path.exists()), None)


def die_at(point: str, count: int, agent: Agent, *arguments: str) -> Agent:
    """Starts it with the build that has failpoints: it dies, as by `kill -9`, when it is at the point for the count-th time."""
    agent.program = failpoints()
    if agent.program is None:
        raise FileNotFoundError("failpoints need the debug build: swift build --build-tests")
    return agent.start(*arguments, env={"SLUICE_FAILPOINT": f"{point}:{count}:exit"})


def wait_dead(agent: Agent, timeout: float = 90) -> None:
    """Until it has died there; the next start is of the build under test again."""
    code = agent.running().wait(timeout)
    if code != -signal.SIGKILL:
        raise RuntimeError(f"{agent.label} ended with {code}, not at its failpoint; {agent.log}:\n{agent.running().tail(40)}")
    agent.program = None


def parse_stack(text: str) -> tuple[int, str]:
    found = re.fullmatch(r"pg(15|18)-librdkafka(2\.0|2\.16)(?:-.*)?", text)
    if found is None:
        raise argparse.ArgumentTypeError("pg15 or pg18, librdkafka2.0 or librdkafka2.16: pg15-librdkafka2.0")
    return int(found[1]), found[2]


def campaign(choice: Choice, plan: Plan, lab: Lab) -> Result:
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # a server that is killed under a transaction is no news here
    print(f"campaign: seed {plan.seed}, {plan.faults} faults of {len(plan.kinds)} kinds; {choice.text}; {binary()}", flush=True)
    world = World(choice, lab)
    try:
        result = rounds.run(world, plan)
    finally:
        world.close()
    if not result.clean:
        lab.keep = True
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(prog="ops/campaign/run", description="A campaign of faults, and the oracle's word on it.")
    options.add_argument("--seed", type=int, help="drives kinds, order and times; a fresh one by default, printed")
    options.add_argument("--faults", type=int, default=50)
    options.add_argument("--kinds", default="all", help=f"of {', '.join(KINDS)}, by comma")
    options.add_argument("--stack", type=parse_stack, default=(15, "2.0"), metavar="pg15-librdkafka2.0", help="versions: 15 or 18, 2.0 or 2.16")
    options.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    options.add_argument("--check-every", type=int, default=50, help="faults between two verdicts")
    options.add_argument("--minutes", type=float, default=float("inf"), help="after so many no further round begins")
    options.add_argument("--rate", type=float, default=40, help="transactions a second")
    options.add_argument("--json", type=Path, help="where the result goes; else it is printed only as a line")
    chosen = options.parse_args(arguments)
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(1 << 30)
    program = failpoints()
    kinds = list(KINDS) if chosen.kinds == "all" else chosen.kinds.split(",")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        options.error(f"no such kind: {', '.join(unknown)}")
    if program is None and POINTS & set(kinds):
        if chosen.kinds != "all":
            options.error("failpoints need a build that has them: swift build, or SLUICE_FAILPOINTS=1 swift build -c release --build-path .build/failpoints")
        print(f"without {', '.join(sorted(POINTS))}: no build that has them", flush=True)
        kinds = [kind for kind in kinds if kind not in POINTS]
    if chosen.brokers > 1:
        if chosen.kinds != "all" and LONELY & set(kinds):
            options.error(f"{', '.join(sorted(LONELY))}: with one broker only")
        kinds = [kind for kind in kinds if kind not in LONELY]
    choice = Choice(*chosen.stack, chosen.brokers)
    with Lab("sluice-campaign-") as lab:
        result = campaign(choice, Plan(seed, chosen.faults, kinds, chosen.check_every, chosen.rate, program, chosen.minutes), lab)
        for finding in result.findings:
            print(f"found: {finding}")
        if chosen.json is not None:
            facts = {"when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} processors",
                     "stack": choice.text, "command": "ops/campaign/run " + " ".join(arguments if arguments is not None else sys.argv[1:])}
            chosen.json.write_text(json.dumps(result.json(**facts), indent=1, ensure_ascii=False) + "\n")
        print(result.line(choice.text), flush=True)
        return 0 if result.clean else 1


if __name__ == "__main__":
    sys.exit(main())
