"""The run directory: what lies in it, and the lines that go into its metrics."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from dni_async.errors import ConfigError, DniError
from dni_async.files import names
from dni_async.files.checkpoint import drop_partial
from dni_async.files.elsewhere import clear_elsewhere, found, write_somewhere
from dni_async.files.writing import write_whole
from dni_async.launcher.run_folder.trust import check_places

__all__ = ["RunFolder"]


class RunFolder:
    """``config.toml  metrics.jsonl  report.json  model.safetensors  logs/``.

    And ``trace.json  profile/`` where a profile was asked for, ``events/`` where events were,
    ``tensorboard/`` where curves were, ``checkpoints/`` where those were. One launcher at a time
    works in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._metrics: IO[str] | None = None
        self._lock: int | None = None
        self._keeps_weights = False

    @classmethod
    def default(cls) -> RunFolder:
        """``runs/DATE-TIME`` in the current folder."""
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        path = Path("runs") / stamp
        again = 2
        while path.exists():
            path = Path("runs") / f"{stamp}-{again}"
            again += 1
        return cls(path)

    def check_free(self, *, overwrite: bool) -> None:
        """Raises ConfigError if there is a run, or what a run could not replace, in the place."""
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"run_dir: {self.path} is a file")
        if not (self.path / names.CONFIG).exists():
            foreign = [name for name in names.OF_RUN if os.path.lexists(self.path / name)]
            if foreign:
                raise ConfigError(
                    f"run_dir: {self.path} holds no run, but {foreign[0]!r}, which a run would "
                    "replace; choose another"
                )
        elif not overwrite:
            raise ConfigError(
                f"run_dir: {self.path} already holds a run; choose another or say --overwrite"
            )
        check_places(self.path)

    def create(self, config_toml: str, choice: Mapping[str, Any] | None = None) -> None:
        """Make the folder, clear an earlier run's files out of it, write the configuration.

        choice: how its rule was chosen, where that was left open.

        Raises ConfigError when the place cannot be written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.take()
            earlier = self.path.glob(names.earlier_events("*"))
            for old in (*(self.path / name for name in names.OF_RUN), *earlier):
                shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
            self._forget_elsewhere()
            self.logs.mkdir()
            self.weights.mkdir()
            (self.path / names.CONFIG).write_text(config_toml, encoding="utf-8")
            if choice is not None:
                (self.path / names.RULE).write_text(json.dumps(choice), encoding="utf-8")
            self._metrics = (self.path / names.METRICS).open("w", encoding="utf-8")
        except OSError as error:
            self._release()
            raise ConfigError(f"run_dir: {self.path}: {error.strerror or error}") from error

    def reopen(self, config_toml: str, metrics: str) -> None:
        """Go on with the run in the folder, once taken: the metrics begin with those lines.

        Raises ConfigError when the place cannot be written to.
        """
        try:
            self._forget_elsewhere()
            for again in (self.weights, self.tensorboard):
                shutil.rmtree(again, ignore_errors=True)
            self.weights.mkdir()
            self.logs.mkdir(exist_ok=True)
            drop_partial(self.checkpoints)
            write_whole(self.path / names.CONFIG, config_toml.encode())
            write_whole(self.path / names.METRICS, metrics.encode())
            self._metrics = (self.path / names.METRICS).open("a", encoding="utf-8")
        except OSError as error:
            self._release()
            raise ConfigError(f"run_dir: {self.path}: {error.strerror or error}") from error

    def _forget_elsewhere(self) -> None:
        """What an earlier run here has left there would be taken for this one's."""
        for path in (self.path / names.MODEL, self.weights / names.weights(0)):
            clear_elsewhere(path)

    def take(self) -> None:
        """Keep other launchers out until close, or the end of this process.

        Raises ConfigError if one is at work here.
        """
        self._lock = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._release()
            raise ConfigError(
                f"run_dir: another launcher is at work in {self.path}, or the workers of one that "
                "was killed are about to leave it"
            ) from None

    @property
    def held(self) -> Sequence[int]:
        """The descriptor that keeps others out, for processes that work in the folder as well."""
        return () if self._lock is None else (self._lock,)

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def checkpoints(self) -> Path:
        """The checkpoints; see dni_async.files.checkpoint."""
        return self.path / names.CHECKPOINTS

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is anything to resume from."""
        return any(self.checkpoints.glob(f"*/{names.MANIFEST}"))

    @property
    def logs(self) -> Path:
        """One log per worker."""
        return self.path / names.LOGS

    @property
    def weights(self) -> Path:
        """The stages' weights, until they are joined into model.safetensors."""
        return self.path / names.WEIGHTS

    @property
    def profile(self) -> Path:
        """What the workers record; there only where a profile was asked for."""
        return self.path / names.PROFILE

    @property
    def events(self) -> Path:
        """What the workers heard and decided; there only where that was asked for."""
        return self.path / names.EVENTS

    @property
    def run_events(self) -> Path:
        """What the launcher heard and decided, among those of the stages."""
        return self.events / names.RUN_EVENTS

    @property
    def tensorboard(self) -> Path:
        """Event files, a folder for each run; there only where those were asked for."""
        return self.path / names.TENSORBOARD

    @property
    def model(self) -> Path:
        """The whole network's weights, once the run has ended well; see elsewhere."""
        return found(self.path / names.MODEL)

    @property
    def model_state(self) -> Path:
        """What modules keep beside their weights and training changed; there only if anything is.

        JSON in the metadata, and the tensors that it refers to.
        """
        return found(self.path / names.MODEL_STATE)

    @property
    def trace(self) -> Path:
        """All workers' spans on one time line."""
        return self.path / names.TRACE

    def make_profile(self) -> None:
        """Make room for what the workers will record."""
        self.profile.mkdir(exist_ok=True)
        self._drop_told_spans()

    def make_events(self) -> None:
        """Make room for what the workers will hear; what was recorded before a resumption is kept
        in ``events-1`` and so on.
        """
        number = 1
        while (old := self.path / names.earlier_events(number)).exists():
            number += 1
        if self.events.exists():
            self.events.rename(old)
        self.events.mkdir()

    def drop_spans(self) -> None:
        """Remove the workers' spans, which trace.json holds now, and what they left half done."""
        self._drop_told_spans()
        for path in (*self.profile.glob(names.spans("*")), *self.profile.glob(f"*{names.PART}")):
            path.unlink()
        if not any(self.profile.iterdir()):
            self.profile.rmdir()

    def _drop_told_spans(self) -> None:
        for path in self.profile.glob(names.told_spans("*")):
            path.unlink()

    def stage_weights(self, stage: int) -> Path:
        """Where a stage saves its part of the model, and where that is; see elsewhere."""
        return found(self.weights / names.weights(stage))

    def log(self, stage: int) -> Path:
        """A worker's standard output and error."""
        return self.logs / names.log(stage)

    @contextmanager
    def inviting(self, line: str) -> Iterator[None]:
        """Have the line by which others join lie here, for this user alone, within the block."""
        path = self.path / names.INVITATION
        path.unlink(missing_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(f"{line}\n")
            yield
        finally:
            path.unlink(missing_ok=True)

    def add_metrics(self, line: Mapping[str, Any]) -> None:
        """Append one line of metrics; what a full disk does not take is tried with the next."""
        assert self._metrics is not None
        with suppress(OSError):
            self._metrics.write(json.dumps(line) + "\n")
            self._metrics.flush()

    def sync_metrics(self) -> None:
        """Have the metrics on disk. Raises OSError."""
        assert self._metrics is not None
        self._metrics.flush()
        os.fsync(self._metrics.fileno())

    def write_report(self, report: Mapping[str, Any], path: Path | None = None) -> str | None:
        """Write the report to path, report.json where there is none; if it is elsewhere, say where.

        Raises DniError when nothing takes it.
        """
        text = json.dumps(report, indent=1) + "\n"
        path = path or self.path / names.REPORT
        try:
            if path.exists() and not path.is_file():  # a pipe or a device is written to
                path.write_text(text, encoding="utf-8")
                return None
            place, why = write_somewhere(path, lambda part: part.write_text(text, encoding="utf-8"))
        except OSError as error:
            raise DniError(f"report: {path} cannot be written: {error.strerror}") from error
        return f"report: {path} cannot be written: {why}; it is {place}" if why else None

    def has_all_weights(self, num_stages: int) -> bool:
        """Whether every stage has left its part of the network."""
        return all(self.stage_weights(stage).is_file() for stage in range(num_stages))

    def keep_weights(self) -> None:
        """Have the stages' weights stay after close: they are all that there is of the network."""
        self._keeps_weights = True

    def close(self) -> None:
        """Close the metrics; drop half-made checkpoints, and weights of stages that lack others."""
        if self._metrics is not None:
            with suppress(OSError):
                self._metrics.close()
        with suppress(OSError):
            drop_partial(self.checkpoints)
        self._release()
        if not self._keeps_weights:
            self.drop_weights()

    def drop_weights(self) -> None:
        """Remove what the stages left of the network, here and elsewhere."""
        clear_elsewhere(self.weights / names.weights(0))
        shutil.rmtree(self.weights, ignore_errors=True)
