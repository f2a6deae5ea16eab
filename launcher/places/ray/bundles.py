"""What a run asks of a Ray cluster, and what the cluster lacks for it. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["Bundle", "make_bundles", "whats_missing"]

Bundle = dict[str, float]  # resource -> how much of it

RESOURCES = ("CPU", "GPU")
SLACK = 1e-6  # fractions of a GPU are added up


def make_bundles(num_stages: int, *, threads: int, gpus: float) -> list[Bundle]:
    """What each stage's worker needs: a CPU for each of its threads, and gpus GPUs."""
    bundle: Bundle = {"CPU": float(threads)}
    if gpus:
        bundle["GPU"] = gpus
    return [dict(bundle) for _ in range(num_stages)]


def whats_missing(
    bundles: Sequence[Bundle], nodes: Sequence[Mapping[str, float]], free: Mapping[str, float]
) -> str:
    """Why the bundles have no place, as half a sentence that names the resource.

    nodes: what each node that is alive has in all. free: what nobody uses, of all nodes together.
    """
    for name in RESOURCES:
        needed, there = _total(bundles, name), _total(nodes, name)
        if needed > there + SLACK:
            return f"the cluster has {_count(there, name)}, {_are_needed(needed)}"
    for name in RESOURCES:
        one = max(bundle.get(name, 0.0) for bundle in bundles)
        most = max(node.get(name, 0.0) for node in nodes)
        if one > most + SLACK:
            needs = f"a worker needs {_count(one, name)} on one node"
            return f"{needs}, and the largest has {_plain(most)}"
    for name in RESOURCES:
        needed, there = _total(bundles, name), _total(nodes, name)
        if needed > free.get(name, 0.0) + SLACK:
            unused = _plain(free.get(name, 0.0))
            return (
                f"of the {_count(there, name)} of the cluster {unused} "
                f"{'is' if unused == '1' else 'are'} free, {_are_needed(needed)}"
            )
    each = " and ".join(_count(amount, name) for name, amount in bundles[0].items())
    return (
        f"the cluster has enough in all, but not {len(bundles)} times {each} in one piece on a node"
    )


def _total(parts: Sequence[Mapping[str, float]], name: str) -> float:
    return sum(part.get(name, 0.0) for part in parts)


def _plain(amount: float) -> str:
    return f"{amount:.4g}"


def _count(amount: float, name: str) -> str:
    return f"{_plain(amount)} {name}{'' if amount == 1 else 's'}"


def _are_needed(amount: float) -> str:
    return f"{_plain(amount)} {'is' if amount == 1 else 'are'} needed"
