"""What is said where there is no Ray, or the wrong one, and what is told of Ray's explanations.

Actors on a real cluster: tests/system/test_ray.py.
"""

from __future__ import annotations

import importlib.util

import pytest

from dni_async.errors import ConfigError
from dni_async.launcher.places.ray.cluster import gist, ray_cluster


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="ray is installed")
def test_a_missing_extra_is_named() -> None:
    with (
        pytest.raises(ConfigError, match=r"engine: ray is not .*pip install 'dni-async\[ray\]'"),
        ray_cluster(None),
    ):
        pass


def test_a_client_outside_the_cluster_is_refused() -> None:
    with (
        pytest.raises(ConfigError, match=r"ray://head:10001 is for Ray's client"),
        ray_cluster("ray://head:10001"),
    ):
        pass


KILLED = """The actor died unexpectedly before finishing this task.
\tclass_name: StageActor
\tactor_id: e46af5b32d2ba4579a5e1f3b01000000
\tpid: 17400
\tip: 192.0.2.2
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit \
detail: Worker unexpectedly exits with a connection error code 2. End of file. Some common causes"""
RAISED = """ray::StageActor.run() (pid=1, ip=192.0.2.2, actor_id=e46a, repr=stage 1)
  File "ray_actor.py", line 44, in run
    raise ModuleNotFoundError(
ModuleNotFoundError: dni-async is not installed on node-7 for /usr/bin/python3"""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (KILLED, "The actor is dead because its worker process has died"),
        (RAISED, "ModuleNotFoundError: dni-async is not installed on node-7 for /usr/bin/python3"),
        ("", "no reason was given"),
    ],
)
def test_the_gist_is_the_sentence_that_says_why(text: str, sentence: str) -> None:
    assert gist(text) == sentence
