"""Pictures of a data set on the Hugging Face Hub, or of local parquet files or class folders."""

import hashlib
import zlib
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from itertools import count, takewhile
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from pocketvlm.collect.candidate import Candidate, Skipped
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.keys import hide, read_key
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.sources import Hub
from pocketvlm.workspace import Row

TOKEN = "HF_TOKEN"
"""The variable that huggingface_hub reads too."""

UNKNOWN = "unknown"

BATCH, BUFFER = 16, 1 << 20
"""Rows of a parquet file that are decoded at a time, and bytes that are read at a time."""

Pick = Callable[[Row], list[str]]
"""The labels for which a row may be taken; "" where none is sought."""


def from_hub(
    project: Project, wanted: Mapping[str, int], seen: Container[str]
) -> Iterator[Candidate | Skipped]:
    """Up to `wanted[label]` further pictures a label, none whose origin is in `seen`; with
    `collect.hub.wanted` empty `{"": n}` means n pictures as they come.

    Rows are streamed, so that no more is downloaded than is read. A picture's bytes stay as they
    are. The origin is `hub:<dataset>/<split>/<row number>`; no author is known to a data set.
    ConfigError names the configurations, splits or columns there are; PocketError when the Hub
    cannot be reached, refuses, or breaks off."""
    settings = project.config.collect.hub
    if settings is None:
        raise ConfigError("collect.hub: name a dataset")
    say(f"Opening {settings.dataset} ...")
    token = read_key(TOKEN, project.workspace.root)
    with understood(settings, token):
        source = Source(project, settings, token)
        pick = picker(source, wanted)
        left = dict(wanted)
        for number, row in source.rows(seen):
            origin = source.origin(number)
            label = next((one for one in pick(row) if left[one]), None)
            if label is None or origin in seen:
                continue
            found = source.candidate(row.get(settings.column), origin, label or None)
            left[label] -= isinstance(found, Candidate)
            yield found
            if not any(left.values()):
                return


class Source:
    """The opened data set."""

    def __init__(self, project: Project, settings: Hub, token: str | None) -> None:
        self.settings, self.token = settings, token
        local = project.path(Path(settings.dataset))
        self.local = local if local.exists() else None
        self.downloads = project.workspace.root / "state" / "downloads"
        self.licence, self.page, revision = self._card()
        self.parquet: list[str] | None = None
        """Its files, in order, where it is made of parquet."""
        self.stream = self._open(revision)

    def _card(self) -> tuple[str, str | None, str | None]:
        """Licence, page to credit, and the commit that the branch or tag is at."""
        from huggingface_hub import DatasetCard, HfApi

        if self.local:
            readme = self.local / "README.md"
            data = DatasetCard.load(readme).data if readme.is_file() else None
            return stated_licence(data) or self.settings.licence, None, None
        api = HfApi(token=self.token)
        info = api.dataset_info(self.settings.dataset, revision=self.settings.revision)
        licence = stated_licence(info.card_data) or self.settings.licence
        return licence, f"{api.endpoint}/datasets/{self.settings.dataset}", info.sha

    def _open(self, revision: str | None) -> Any:
        """The stream of rows with the pictures' bytes as they are."""
        import datasets
        from datasets.packaged_modules.parquet.parquet import Parquet

        datasets.disable_progress_bars()
        where: Row = {"path": self.settings.dataset, "revision": revision, "token": self.token}
        if self.local:
            inside = self.local.is_dir()
            folder = self.local if inside else self.local.parent
            where = {"path": str(folder), "data_files": None if inside else self.local.name}
        builder = datasets.load_dataset_builder(**where, name=self.settings.config)
        stream = builder.as_streaming_dataset(split=self.settings.split)
        if isinstance(builder, Parquet):
            files = {str(split): files for split, files in builder.config.data_files.items()}
            self.parquet = files[self.settings.split]
        if stream.features is None:  # JSON Lines, say: known by their first row
            self.features: Row = dict.fromkeys(next(iter(stream), {}))
        else:
            self.features = dict(stream.features)
        column = self.settings.column
        feature = self._known("column", column)
        if feature is None:
            return stream
        if not may_hold_pictures(feature):
            raise ConfigError(
                f"collect.hub.column: {column!r} holds no pictures but {feature}; the columns are "
                f"{sorted(self.features)}"
            )
        return stream.decode(False).cast_column(column, datasets.Image(decode=False))

    def _known(self, key: str, column: str) -> Any:
        if column not in self.features:
            raise ConfigError(
                f"collect.hub.{key}: {self.settings.dataset} has no column {column!r}; it has "
                f"{sorted(self.features)}"
            )
        return self.features[column]

    def name_of(self) -> Callable[[Any], str]:
        """What a value of the column `by` is called; ConfigError for a value that a column of
        classes cannot hold."""
        from datasets import ClassLabel, LargeList, List

        feature = self._known("by", self.settings.by)
        if isinstance(feature, List | LargeList):
            feature = feature.feature
        if not isinstance(feature, ClassLabel):
            return str
        sought = {value for values in self.settings.wanted.values() for value in values}
        if unknown := sought - set(feature.names):
            raise ConfigError(
                f"collect.hub.wanted: {sorted(unknown)} are no values of {self.settings.by!r}; it "
                f"has {feature.names}"
            )
        names = dict(enumerate(feature.names))
        return lambda value: names.get(value, "")  # -1 where a row has no class

    def origin(self, number: int) -> str:
        """Names a row for good."""
        return f"hub:{self.settings.dataset}/{self.settings.split}/{number}"

    def rows(self, seen: Container[str]) -> Iterator[tuple[int, Row]]:
        """Rows with their numbers; those at the beginning that are known are not even decoded."""
        if self.parquet is not None:
            return self._parquet_rows(self.parquet, seen)
        done = sum(1 for _ in takewhile(lambda at: self.origin(at) in seen, count()))
        return enumerate(self.stream.skip(done), done)

    def _parquet_rows(self, files: list[str], seen: Container[str]) -> Iterator[tuple[int, Row]]:
        """Rows of parquet files, without row groups of which all is known: those are not loaded.

        `datasets` 5.2 reads them with Arrow's scanner, whose threads load far ahead (36 MiB for
        five pictures) and abort Python when it ends before they do."""
        from pyarrow.parquet import ParquetFile

        columns = [self.settings.column, *([self.settings.by] if self.settings.wanted else [])]
        first = 0
        for name in files:
            with self._opened(name) as file:
                parquet = ParquetFile(file, buffer_size=BUFFER)
                for group in range(parquet.num_row_groups):
                    numbers = range(first, first + parquet.metadata.row_group(group).num_rows)
                    first = numbers.stop
                    if all(self.origin(number) in seen for number in numbers):
                        continue
                    batches = parquet.iter_batches(BATCH, [group], columns, use_threads=False)
                    rows = (row for batch in batches for row in batch.to_pylist())
                    yield from zip(numbers, rows, strict=True)

    def _opened(self, path: str) -> Any:
        """A file of this disk, of the Hub or in an archive; reading goes on after a cut."""
        from datasets import DownloadConfig
        from datasets.utils.file_utils import xopen

        return xopen(path, "rb", download_config=DownloadConfig(token=self.token))

    def candidate(self, value: Any, origin: str, sought: str | None) -> Candidate | Skipped:
        """The picture of one row as a file; Skipped where there is none."""
        data, path = bytes_and_path(value)
        found = data if data is not None else self._file(path)
        if isinstance(found, str):
            return Skipped(origin, found)
        fetched = isinstance(found, bytes)
        file = self._write(found, origin) if isinstance(found, bytes) else found
        return Candidate(
            file, origin, "hub", self.licence, url=self.page, sought=sought, fetched=fetched
        )

    def _file(self, path: str | None) -> bytes | Path | str:
        """What a path in a row names, or why there is nothing; only what may be the connection's
        fault ends the run."""
        try:
            return self._inside(path)
        except (BadZipFile, zlib.error, EOFError) as error:
            return f"cannot be read: {one_line(error, self.token)}"
        except (OSError, ValueError, RuntimeError) as error:
            if self.local is None:
                raise
            return f"cannot be read: {one_line(error, self.token)}"

    def _inside(self, path: str | None) -> bytes | Path | str:
        """What a path in a row names: a local file, bytes of the Hub's or of an archive, or why
        it is left alone: a data set could name any file of this machine, or any address."""
        if path is None:
            return "the row holds no picture"
        *member, place = path.split("::")  # zip://member::archive
        if self.local is None:
            inside = place.startswith(f"hf://datasets/{self.settings.dataset}@")
        else:
            root = self.local if self.local.is_dir() else self.local.parent
            inside = "://" not in place and (root / place).resolve().is_relative_to(root.resolve())
            if inside and not member:
                return root / place
            path = "::".join([*member, str(root / place)])
        if not inside or not all(part.startswith("zip://") for part in member):
            return "the row names a file outside the data set"
        with self._opened(path) as file:
            return bytes(file.read())

    def _write(self, data: bytes, origin: str) -> Path:
        """Named by its origin: what a killed run left, whole or not, is written again."""
        path = self.downloads / f"hub-{hashlib.sha256(origin.encode()).hexdigest()[:32]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path


def picker(source: Source, wanted: Mapping[str, int]) -> Pick:
    """Rows whose value of `by` is sought for a label; without anything sought all rows."""
    settings = source.settings
    if not settings.wanted:
        return lambda row: [""]
    name = source.name_of()
    labels: dict[str, list[str]] = {}
    for label in wanted:
        for value in settings.wanted[label]:
            labels.setdefault(value, []).append(label)

    def pick(row: Row) -> list[str]:
        value = row.get(settings.by)
        values = value if isinstance(value, list) else [value]
        return [label for one in values for label in labels.get(name(one), ())]

    return pick


def bytes_and_path(value: Any) -> tuple[bytes | None, str | None]:
    """A picture's value in a row: encoded bytes, the path of a file, or a struct of both."""
    if isinstance(value, dict):
        return value.get("bytes"), value.get("path")
    return (value if isinstance(value, bytes) else None), (
        value if isinstance(value, str) else None
    )


def may_hold_pictures(feature: Any) -> bool:
    """Whether a column's values are pictures, their bytes or their paths."""
    from datasets import Image, Value

    if isinstance(feature, Value):
        return feature.dtype in ("binary", "large_binary", "string", "large_string")
    return isinstance(feature, Image) or (isinstance(feature, dict) and "bytes" in feature)


def stated_licence(card: Any) -> str | None:
    """The licence of a data set's card; None where it does not say. `other` stands beside a
    `license_name` (https://huggingface.co/docs/hub/repositories-licenses)."""
    said = (card.to_dict() if card else {}).get("license")
    if said == "other":
        said = card.to_dict().get("license_name") or said
    words = said if isinstance(said, list) else [said]
    return ", ".join(str(word) for word in words if word and word != UNKNOWN) or None


@contextmanager
def understood(settings: Hub, token: str | None) -> Iterator[None]:
    """Errors of the libraries as ours: cause and mend in one line, without the token."""
    import httpx2
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.errors import (
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = settings.dataset
    try:
        yield
    except HFValidationError:
        raise ConfigError(
            f"collect.hub.dataset: {name!r} is neither a local file or folder nor a hub id"
        ) from None
    except RevisionNotFoundError:
        raise ConfigError(
            f"collect.hub.revision: {name} has no branch, tag or commit {settings.revision!r}"
        ) from None
    except (RepositoryNotFoundError, DatasetNotFoundError) as error:
        raise PocketError(
            f"{name} does not exist on the Hub or is not open to you ({type(error).__name__}): "
            f"check its name, ask for access on its page, and put {TOKEN} into the environment or "
            ".env"
        ) from None
    except FileNotFoundError as error:
        raise ConfigError(f"collect.hub: {name}: {one_line(error, token)}") from None
    except (httpx2.HTTPError, OSError) as error:
        raise PocketError(
            f"{name} could not be read ({type(error).__name__}: {one_line(error, token)}): run the "
            "same command again, it goes on from here"
        ) from None
    except (ValueError, RuntimeError, TypeError) as error:
        raise ConfigError(f"collect.hub: {name}: {one_line(error, token)}") from None


def one_line(error: Exception, token: str | None) -> str:
    """The first words of a library's error, without the token."""
    return hide(" ".join(str(error).split()), token or "")[:300] or "no reason was given"
