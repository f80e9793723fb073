"""Statements in constant use: built in SQLAlchemy's Core, turned into text once, run by the driver.

Running a statement through SQLAlchemy takes three times as long as SQLite takes to carry it out.
Whatever a lease, a report or a status read runs goes this way; the rest is left to SQLAlchemy, on
the same connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Dialect, TextClause
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import SelectBase

Parameters = Mapping[str, Any]
Row = tuple[Any, ...]


@dataclass(frozen=True)
class _Text:
    """A statement as one driver takes it.

    Attributes:
        sql: with placeholders.
        constants: values that the statement itself holds, by name.
        order: names of the placeholders' values; None where the placeholders have names.
    """

    sql: str
    constants: Parameters
    order: tuple[str, ...] | None

    def arguments(self, given: Parameters) -> Parameters | list[Any]:
        """Return the values as the driver takes them."""
        values = {**self.constants, **given} if self.constants else given
        return values if self.order is None else [values[name] for name in self.order]


class Prepared:
    """A statement of Core that is turned into text once for each dialect and set of parameters.

    Core itself writes an UPDATE's and an INSERT's columns by the parameters that are given. Values
    go to the driver and come back as they are, so columns whose type converts have no place here,
    nor have parameters that expand.
    """

    def __init__(self, statement: SelectBase | UpdateBase | TextClause) -> None:
        self._statement = statement
        self._texts: dict[tuple[str, tuple[str, ...]], _Text] = {}

    def text(self, dialect: Dialect, names: tuple[str, ...]) -> _Text:
        """Return it for a dialect and the names of the parameters."""
        key = (dialect.name, names)
        found = self._texts.get(key)
        if found is None:
            found = self._texts[key] = self._compiled(dialect, names)
        return found

    def _compiled(self, dialect: Dialect, names: tuple[str, ...]) -> _Text:
        compiled = self._statement.compile(
            dialect=dialect,
            column_keys=list(names),
            compile_kwargs={"render_postcompile": True},
        )
        constants = {name: value for name, value in compiled.params.items() if name not in names}
        order: list[str] | None = getattr(compiled, "positiontup", None)
        return _Text(compiled.string, constants, None if order is None else tuple(order))


class Session:
    """Runs prepared statements on an open connection.

    What the driver raises comes out as SQLAlchemy has it: IntegrityError, OperationalError.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection: Final = connection
        self._dialect = connection.dialect
        self._driver: Any = connection.connection.dbapi_connection
        self._error: type[Exception] = connection.dialect.loaded_dbapi.Error

    def rows(self, statement: Prepared, parameters: Parameters) -> list[Row]:
        """Run a statement, and return all the rows that it gives."""
        found: list[Row] = self._run(statement, parameters).fetchall()
        return found

    def row(self, statement: Prepared, parameters: Parameters) -> Row | None:
        """Run a statement, and return the first row that it gives."""
        found = self.rows(statement, parameters)
        return found[0] if found else None

    def one(self, statement: Prepared, parameters: Parameters) -> Row:
        """Run a statement that gives one row."""
        (found,) = self.rows(statement, parameters)
        return found

    def change(self, statement: Prepared, parameters: Parameters) -> int:
        """Run a statement that gives no rows; return how many it changed."""
        changed: int = self._run(statement, parameters).rowcount
        return changed

    def change_each(self, statement: Prepared, parameters: Sequence[Parameters]) -> None:
        """Run a statement once for each set of parameters; all have the same names."""
        text = statement.text(self._dialect, tuple(parameters[0]))
        try:
            cursor = self._driver.cursor()
            cursor.executemany(text.sql, [text.arguments(given) for given in parameters])
        except self._error as error:
            raise self._told(error, text.sql) from error

    def control(self, sql: str) -> Any:
        """Run text without parameters, as begins and ends a transaction; returns the cursor."""
        try:
            return self._driver.execute(sql)
        except self._error as error:
            raise self._told(error, sql) from error

    def _run(self, statement: Prepared, parameters: Parameters) -> Any:
        text = statement.text(self._dialect, tuple(parameters))
        try:
            return self._driver.execute(text.sql, text.arguments(parameters))
        except self._error as error:
            raise self._told(error, text.sql) from error

    def _told(self, error: Exception, sql: str) -> BaseException:
        return DBAPIError.instance(
            sql, None, error, self._error, hide_parameters=True, dialect=self._dialect
        )
