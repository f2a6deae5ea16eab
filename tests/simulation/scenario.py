"""What is simulated: a run's settings, its world, and what happens to it; drawn from a seed."""

from __future__ import annotations

import dataclasses
import json
import random
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

from dni_async.config.run_config import RunConfig
from dni_async.network.partition import split_layers

__all__ = ["Death", "Scenario", "Stall", "draw"]

Role = Literal["worker", "launcher", "fork server", "machine"]


@dataclass(frozen=True)
class Death:
    """Somebody is killed. role: "machine" is everybody, and what is not on disk is gone.

    work: when the source is that far in the order of work, from 0 to 1; beyond 1, so many seconds
    after the last batch. op: or, where it is not 0, instead of its op-th doing. word: or, where it
    is not 0, around its word-th word to the coordinator that is no Progress. after_s: or, where it
    is not negative, so long after the death before, or the wish to end.
    """

    role: Role
    stage: int = 0
    work: float = 0.0
    op: int = 0
    word: int = 0
    after_s: float = -1.0


@dataclass(frozen=True)
class Stall:
    """Nothing passes for a while between a stage and the one above, or with plane "control" the
    coordinator, from that share of the work on.
    """

    plane: Literal["link", "control"]
    stage: int
    work: float
    seconds: float


@dataclass(frozen=True)
class Scenario:
    """One simulated run. settings: of RunConfig, beside those that have fields here.

    num_layers: of the network; 0: as many as stages. moves: how many batches are trained on before
    each, and how many layers each stage is to hold then.
    speeds: seconds that each stage takes for a batch, by stage. losses: of the tests, by epoch.
    stop_at: the share of the work at which the run is asked to end; 2 for never. latency_s: the
    longest that a message takes. bad_writes: the share of shards that are on disk otherwise than
    they were written.
    """

    seed: int = 0
    num_stages: int = 2
    epochs: int = 2
    train_batches: int = 4
    test_batches: int = 1
    evaluate_every: int = 1
    window: int = 2
    max_restarts: int = 99
    settings: dict[str, Any] = field(default_factory=dict)
    speeds: tuple[float, ...] = ()
    losses: tuple[float, ...] = ()
    latency_s: float = 0.003
    stop_at: float = 2.0
    bad_writes: float = 0.0
    deaths: tuple[Death, ...] = ()
    stalls: tuple[Stall, ...] = ()
    num_layers: int = 0
    moves: tuple[str, ...] = ()

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The layers that each stage begins with."""
        return split_layers(max(self.num_layers, self.num_stages), self.num_stages)

    @property
    def num_batches(self) -> int:
        """Of an epoch, tests included."""
        return self.train_batches + self.test_batches

    @property
    def num_ids(self) -> int:
        """Of the whole run."""
        return self.epochs * self.num_batches

    @property
    def is_unlocked(self) -> bool:
        """Whether stages wait for no input."""
        return self.settings.get("unlock") == "forward"

    @property
    def tested(self) -> list[int]:
        """The epochs that end with a test, which are those that are told of."""
        return [
            epoch
            for epoch in range(1, self.epochs + 1)
            if epoch % self.evaluate_every == 0 or epoch == self.epochs
        ]

    def loss_after(self, epoch: int) -> float:
        """What the test after an epoch comes to."""
        return self.losses[epoch - 1] if 0 < epoch <= len(self.losses) else 1.0

    def speed(self, stage: int) -> float:
        """Seconds for a batch."""
        return self.speeds[stage] if stage < len(self.speeds) else 0.005

    @cached_property
    def config(self) -> RunConfig:
        """The run's settings."""
        given: dict[str, Any] = {
            "stages": self.num_stages,
            "layers": max(2, self.num_stages, self.num_layers),
            "moves": tuple(m for m in self.moves if m.count("+") + 1 == self.num_stages),
            "epochs": self.epochs,
            "evaluate_every": self.evaluate_every,
            "window": self.window,
            "max_restarts": self.max_restarts,
            "batch_size": 1,
            "metrics": (),
            "metric": "loss",
            "log_every": 0,
            "baseline": False,
            "transport": "tcp",
            "devices": ("cpu",),
        }
        return RunConfig(**{**given, **self.settings})

    def to_json(self) -> str:
        """For a command line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Scenario:
        """What to_json gave."""
        told = json.loads(text)
        told["deaths"] = tuple(Death(**each) for each in told.get("deaths", ()))
        told["stalls"] = tuple(Stall(**each) for each in told.get("stalls", ()))
        for name in ("speeds", "losses", "moves"):
            told[name] = tuple(told.get(name, ()))
        return cls(**told)


RULES: tuple[tuple[int, dict[str, Any]], ...] = (
    (3, {"rule": "dni", "targets": "anchor", "anchor_every": 4}),
    (2, {"rule": "dni", "targets": "anchor", "anchor_every": 2, "anchor_updates": True}),
    (3, {"rule": "dni", "targets": "bootstrap"}),
    (1, {"rule": "dgl", "synthesizer": "critic"}),
    (2, {"rule": "fdg"}),
    (1, {"rule": "no-bprop"}),
    (2, {"rule": "backprop"}),
)


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    chance = random.Random(f"scenario {seed}")
    num_stages = chance.choice((1, 2, 2, 3, 3, 3, 4, 4, 5, 6))
    epochs = chance.choice((1, 2, 2, 3, 3, 4, 5))
    settings = _learning(chance)
    settings |= _checkpoints(chance)
    settings |= _endings(chance, epochs)
    max_restarts = chance.choice((99, 99, 99, 99, 3, 1, 0))
    drawn = Scenario(
        seed=seed,
        num_stages=num_stages,
        epochs=epochs,
        train_batches=chance.randint(1, 9),
        test_batches=chance.choice((0, 1, 1, 2, 3)),
        evaluate_every=chance.choice((1, 1, 1, 2, 3)),
        window=chance.choice((1, 2, 2, 3, 4, 8)),
        max_restarts=max_restarts,
        settings=settings,
        speeds=tuple(chance.choice((0.001, 0.004, 0.02)) for _ in range(num_stages)),
        losses=tuple(round(chance.uniform(0.1, 1.0), 3) for _ in range(epochs)),
        latency_s=chance.choice((0.0005, 0.003, 0.003, 0.02)),
        stop_at=chance.random() * 1.1 if chance.random() < 0.2 else 2.0,
        bad_writes=chance.choice((0.0, 0.0, 0.0, 0.0, 0.02, 0.2)),
        deaths=_deaths(chance, num_stages),
        stalls=_stalls(chance, num_stages),
    )
    return _with_moves(chance, drawn)


def _with_moves(chance: random.Random, scenario: Scenario) -> Scenario:
    """In every third one layers move, once or several times."""
    stages, last = scenario.num_stages, scenario.epochs * scenario.train_batches - 1
    if stages == 1 or last < 1 or scenario.is_unlocked or chance.random() > 0.35:
        return scenario
    num_layers = stages + chance.randint(1, 4)
    places = sorted({chance.randint(1, last) for _ in range(chance.choice((1, 1, 2, 3, 5)))})
    moves = []
    for place in places:
        bounds = [0, *sorted(chance.sample(range(1, num_layers), stages - 1)), num_layers]
        counts = (str(end - first) for first, end in pairwise(bounds))
        moves.append(f"{place}:{'+'.join(counts)}")
    return dataclasses.replace(scenario, num_layers=num_layers, moves=tuple(moves))


def _learning(chance: random.Random) -> dict[str, Any]:
    settings = dict(chance.choices([r for _, r in RULES], [w for w, _ in RULES])[0])
    updates_at_once = settings["rule"] in ("dni", "dgl") and not settings.get("anchor_updates")
    if updates_at_once and chance.random() < 0.25:
        settings |= {"when_full": chance.choice(("wait", "skip"))}
        settings |= {"when_empty": chance.choice(("wait", "replay")), "replay_batches": 2}
        settings |= {"replay_limit": chance.randint(1, 3)}
    elif settings["rule"] in ("dni", "dgl", "no-bprop") and chance.random() < 0.15:
        settings |= {"unlock": "forward"}
    return settings


def _checkpoints(chance: random.Random) -> dict[str, Any]:
    found: dict[str, Any] = {"keep_checkpoints": chance.choice((1, 1, 1, 2, 3))}
    kind = chance.random()
    if kind < 0.4:
        found["checkpoint_every"] = str(chance.randint(1, 8))
    elif kind < 0.6:
        found["checkpoint_every"] = chance.choice(("0.01s", "0.05s", "0.2s"))
    if chance.random() < 0.2:
        found["keep_best"] = True
    return found


def _endings(chance: random.Random, epochs: int) -> dict[str, Any]:
    kind = chance.random()
    if kind < 0.08:
        return {"target": round(chance.uniform(0.1, 0.6), 3), "early_stop": True}
    return {"patience": chance.randint(1, epochs)} if kind < 0.16 else {}


def _deaths(chance: random.Random, num_stages: int) -> tuple[Death, ...]:
    """None, one or several; at any moment, or around a word or another death."""
    deaths: list[Death] = []
    for place in range(chance.choice((0, 1, 1, 1, 2, 2, 3, 5))):
        role: Role = chance.choices(
            ("worker", "launcher", "machine", "fork server"), (76, 9, 9, 6)
        )[0]
        stage = chance.randrange(num_stages)
        kind = chance.random()
        if place and kind < 0.4:
            after_s = 10 ** chance.uniform(-3.5, 0.5)
            if kind < 0.25:  # a neighbour, together with it
                stage = max(0, min(num_stages - 1, deaths[-1].stage + chance.choice((-1, 0, 1))))
            deaths.append(Death(role, stage, after_s=after_s))
        elif kind > 0.95:
            deaths.append(Death(role, stage, op=chance.randint(1, 12)))
        elif kind > 0.75 and role == "worker":
            deaths.append(Death(role, stage, word=chance.randint(1, 12)))
        else:
            deaths.append(Death(role, stage, work=round(chance.random() * 1.08, 4)))
    return tuple(deaths)


def _stalls(chance: random.Random, num_stages: int) -> tuple[Stall, ...]:
    if chance.random() < 0.8:
        return ()
    plane: Literal["link", "control"] = chance.choice(("link", "control"))
    # A process and the launcher on one host; last words are waited for half a second.
    seconds = 10 ** chance.uniform(-2, 0.7 if plane == "link" else -0.4)
    return (Stall(plane, chance.randrange(num_stages), chance.random(), seconds),)
