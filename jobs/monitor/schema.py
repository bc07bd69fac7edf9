"""What a model reads and answers, as the monitor needs to know it: from model.yaml, or inferred from data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from jobs.contract import JobError

if TYPE_CHECKING:
    from jobs.spec import Spec

Type = Literal["number", "integer", "string", "boolean"]


@dataclass(frozen=True)
class Field:
    """One column. `minimum` and `maximum` are inclusive; `values` are the allowed ones, as text."""

    name: str
    type: Type
    nullable: bool = True
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] | None = None

    @property
    def is_categorical(self) -> bool:
        return self.type in ("string", "boolean")


@dataclass(frozen=True)
class Schema:
    """`fields` are the columns that a profile counts, by name. The other names may be empty."""

    fields: dict[str, Field]
    id: str = ""
    time: str = ""
    target: str = ""
    protected: tuple[str, ...] = ()
    task: str = ""

    @classmethod
    def of(cls, spec: Spec) -> Schema:
        """The features of a model.yaml."""
        fields = {
            feature.name: Field(
                name=feature.name,
                type=feature.type,
                nullable=feature.nullable,
                minimum=feature.minimum,
                maximum=feature.maximum,
                values=None if feature.values is None else tuple(as_text(value) for value in feature.values),
            )
            for feature in spec.features.values()
        }
        return cls(fields, spec.id, spec.time, spec.target, tuple(spec.protected), spec.task)

    @classmethod
    def infer(cls, schema: pa.Schema, **names: Any) -> Schema:
        """Every column of an Arrow schema that can be counted, without `id`, `time` and `target`, which are
        given by name. Raises JobError where one of them is not a column."""
        for role in ("id", "time", "target"):
            if names.get(role) and names[role] not in schema.names:
                raise JobError(f"the data has no column {names[role]!r}, named as {role}")
        roles = {names.get("id"), names.get("time"), names.get("target")}
        fields = {}
        for column in schema:
            kind = type_of(column.type)
            if kind and column.name not in roles:
                fields[column.name] = Field(column.name, kind, nullable=True)
        return cls(fields, **names)

    def with_fields(self, *fields: Field) -> Schema:
        """The same schema with more columns, such as the prediction."""
        return replace(self, fields=self.fields | {field.name: field for field in fields})

    def without(self, names: Iterable[str]) -> Schema:
        dropped = set(names)
        return replace(
            self, fields={name: field for name, field in self.fields.items() if name not in dropped}
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Schema:
        """Inverse of `as_dict`, also after JSON. Raises JobError for a dict of another shape."""
        try:
            fields = {
                name: Field(**{**entry, "values": _tuple(entry["values"])})
                for name, entry in content["fields"].items()
            }
            return cls(**{**content, "fields": fields, "protected": tuple(content["protected"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise JobError(f"the stored schema is not one that this version wrote: {error}") from error


def type_of(kind: pa.DataType) -> Type | None:
    """The monitor's type of an Arrow type; None for what it does not count (times, lists, structs)."""
    if pa.types.is_dictionary(kind):
        return type_of(kind.value_type)
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    return None


def as_text(value: Any) -> str:
    """A category as it is counted: booleans in JSON's spelling."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _tuple(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
