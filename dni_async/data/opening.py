"""Opens the data of a run, whatever they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from dni_async.config.extensions import find_callable, is_extension

if TYPE_CHECKING:
    from dni_async.config.run_config import RunConfig
    from dni_async.config.target_form import TargetForm
    from dni_async.data.feed import Feed

__all__ = ["open_feed"]


def open_feed(
    config: RunConfig,
    *,
    form: TargetForm | None = None,
    fetches: Literal["ahead", "in turn", "here"] = "in turn",
) -> Feed:
    """The data that config names.

    form: of the targets, where it is known. fetches: how the batches of a stream come: ahead, in a
    thread; when they are asked for; or so and in this very process. Raises DataError.
    """
    from dni_async.data.inputs import Inputs  # and torch, which a usage error need not wait for

    if not is_extension(config.data):
        return Inputs.from_config(config)
    from dni_async.data.dataset import checked_dataset
    from dni_async.data.streams.fitting import TargetFit
    from dni_async.data.streams.making import make_stream
    from dni_async.data.streams.parts import Parts, parts_of
    from dni_async.data.streams.stream import generators_from
    from dni_async.data.streams.stream_feed import StreamFeed

    make = find_callable("data", config.data)
    with generators_from(config.seed):  # all processes make the same
        data = parts_of(make, config.taken)
    name = config.data.partition(":")[2]
    if not isinstance(data, Parts):
        dataset = checked_dataset(name, **data, taken=config.taken)
        return Inputs.of(dataset, config)
    size = config.batch_size
    return StreamFeed(
        "given" if config.data.startswith("dni_async.config.given:") else config.data,
        make_stream(
            "training", data.train, size, shuffles=True, keeps_states=bool(config.checkpoint_every)
        ),
        None if data.test is None else make_stream("test", data.test, size, shuffles=False),
        updates_per_epoch=config.updates_per_epoch,
        seed=config.seed,
        fetches=fetches,
        fit=TargetFit(config.taken, form),
    )
