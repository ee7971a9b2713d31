"""The folder of .avsc files that declare the records of a pipeline."""

from collections.abc import Mapping
from pathlib import Path

from common.environment import closest
from common.errors import UserError
from common.text import shown
from schemas.avro_record import AvroRecord
from schemas.load import Schema, read_record

ENGINE_SCHEMAS = Path(__file__).parent / "avro"
"""Folder of the records that are the same for every pipeline."""

_SUFFIX = ".avsc"
_ALIKE = 0.6


class SchemaFolder:
    """Finds records by name: in a folder, otherwise in `ENGINE_SCHEMAS`.

    `NAME.avsc` declares the record NAME. `NAME.v1.avsc`, or any other text between the two dots, is a superseded
    version of it, so that values written with it can still be decoded. Files that are added later are not found.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._own, self._engine = _files(path), _files(ENGINE_SCHEMAS)
        self._records: dict[str, AvroRecord] = {}

    def record(self, name: str) -> AvroRecord:
        """Look up a record with its superseded versions.

        Args:
            name: name of the file without `.avsc`, such as `Reading`.

        Raises:
            UserError: the file does not exist or does not declare a record; the text names file, line and remedy.
        """
        if name not in self._records:
            self._records[name] = self._read(name)
        return self._records[name]

    def _read(self, name: str) -> AvroRecord:
        files = self._own if name in self._own else self._engine
        if name not in files:
            known = sorted(n for n in self._own | self._engine if "." not in n)
            hint = closest(name, known, _ALIKE)
            advice = f"did you mean {hint!r}?" if hint else f"name one of {', '.join(known)}, or add the file"
            raise UserError(f"there is no {shown(name)}{_SUFFIX} in {shown(self.path)}; {advice}")
        return AvroRecord(name, files[name], read_record(files[name]), _superseded(name, files))

    def superseded(self, name: str) -> list[Schema]:
        """Earlier versions of a record that has no file of its own, as `record` finds them.

        Raises:
            UserError: a file does not declare a record.
        """
        return _superseded(name, self._own)


def _superseded(name: str, files: Mapping[str, Path]) -> list[Schema]:
    return [read_record(file) for other, file in sorted(files.items()) if other.startswith(f"{name}.")]


def _files(folder: Path) -> dict[str, Path]:
    """The schema files of a folder, by name without the suffix."""
    return {file.name.removesuffix(_SUFFIX): file for file in folder.glob(f"*{_SUFFIX}")}
