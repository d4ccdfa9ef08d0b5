"""Model: the schema of the `model.toml` beside a version.

Job    turn what the file says into the repository's settings.
Life   called once for each version that is discovered.
Never  lenient: as strict as the gateway's own configuration.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from gateway.config.faults import ConfigError, faults_of
from gateway.config.kinds import Count, NotNegative, Positive, Table
from gateway.config.remote import RemoteTable
from gateway.repository.settings import BatchingSettings, ExecutionSettings, ModelSettings

Finite = Annotated[float, Field(allow_inf_nan=False)]


class BatchingTable(Table):
    """How requests may share an execution; see the settings' own words."""

    max_batch_size: Annotated[int, Field(ge=0)] = 0
    max_wait_ms: NotNegative | None = None
    pad_to: Annotated[tuple[Count, ...], Field(strict=False)] = ()
    max_execution_rows: Count | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.max_batch_size == 0 and (self.pad_to or self.max_execution_rows is not None):
            raise ValueError("pad_to and max_execution_rows need a max_batch_size of at least 1")
        most_rows = self.max_execution_rows or self.max_batch_size
        if most_rows > self.max_batch_size:
            raise ValueError(
                f"max_execution_rows must be at most max_batch_size ({self.max_batch_size}), "
                f"got {most_rows}"
            )
        if any(first >= second for first, second in pairwise(self.pad_to)):
            raise ValueError(f"pad_to must ascend, got {list(self.pad_to)}")
        if self.pad_to and self.pad_to[-1] > most_rows:
            raise ValueError(
                f"pad_to must not exceed the {most_rows} rows of one execution, "
                f"got {self.pad_to[-1]}"
            )
        return self


class ExecutionTable(Table):
    """Where the version runs."""

    executor: Literal["auto", "inline", "thread", "process", "remote"] = "auto"
    instances: Count = 1
    intra_op_threads: Count = 1
    inter_op_threads: Count = 1
    max_memory_bytes: Annotated[int, Field(ge=0)] = 0
    suspect_after_s: Positive | None = None

    @model_validator(mode="after")
    def _has_one_loop(self) -> Self:
        if self.executor == "inline" and self.instances != 1:
            raise ValueError(f"an inline executor has 1 instance, got {self.instances}")
        if self.executor == "remote" and self.instances != 1:
            raise ValueError("remote.connections says how many executions there are at once")
        return self

    @model_validator(mode="after")
    def _has_processes(self) -> Self:
        for key in ("max_memory_bytes", "suspect_after_s"):
            if getattr(self, key) and self.executor != "process":
                raise ValueError(f"{key} is for executor = 'process', got '{self.executor}'")
        return self


class ModelTable(Table):
    """The whole of `model.toml`."""

    description: str = ""
    batching: BatchingTable = BatchingTable()
    execution: ExecutionTable = ExecutionTable()
    remote: RemoteTable | None = None
    metrics: Annotated[dict[str, Finite], Field(default_factory=dict)]

    @model_validator(mode="after")
    def _runs_in_one_place(self) -> Self:
        if (self.execution.executor == "remote") != (self.remote is not None):
            raise ValueError('execution.executor = "remote" and a table remote need each other')
        if self.remote is not None:
            if self.batching.pad_to:
                raise ValueError("batching.pad_to has no effect on a remote version")
            self.remote.check_rows(self.batching.max_batch_size)
        return self


def parse_model(raw: Mapping[str, object]) -> ModelSettings:
    """Return the settings that `raw` declares.

    Raises: ConfigError with every fault.
    """
    try:
        table = ModelTable.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(faults_of(error, ModelTable)) from None
    return ModelSettings(
        description=table.description,
        batching=BatchingSettings(**dict(table.batching)),
        execution=ExecutionSettings(**dict(table.execution)),
        metrics=table.metrics,
        **({} if table.remote is None else table.remote.settings()),
    )
