"""Overrides: what a load request may bring along: a configuration, and files.

Job    replace a version's settings by those of the request; write its files where no
       other file lies.
Life   during one load.
Never  writes before every name is judged, nor anywhere but below the folder it is given.

A configuration is the whole of it, as a `config.pbtxt` would be: it replaces what the
version declares of batching, execution, tensors and warm-up. The description and the
figures of the training are no part of a configuration, and stay; the file's name and
the version policy stay unless they are named.
"""

import binascii
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path, PurePosixPath

from gateway.core.versions import is_version
from gateway.repository.declared import Undeclarable, declared
from gateway.repository.proof import Found
from gateway.repository.reasons import few
from gateway.repository.triton import Unreadable, read_json

_FILE = "file:"
_MOST_COMPONENT_BYTES = 255
_MOST_NAME_BYTES = 1024
_MOST_FILES = 1024
_MOST_QUOTED_CHARS = 80
_PIECE_BYTES = 256 << 10  # a multiple of 4; half a millisecond, in which no other thread runs


class OverrideError(ValueError):
    """What a load request brought cannot be used; `faults` are (path, what), the text few."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(few([f"{path}: {what}" for path, what in self.faults])))


def with_overrides(found: Found, config: str) -> Found:
    """Return the version with the settings of `config`, a configuration in JSON.

    Raises: OverrideError with every fault.
    """
    if found.settings.remote is not None:
        what = f"version {found.version} runs elsewhere: its model.toml alone describes it"
        raise OverrideError([("config", what)])
    try:
        values = read_json(config)
        said = declared(values, found.folder.parent, "request", found.model)
    except Unreadable as error:
        raise OverrideError([("config", str(error))]) from None
    except Undeclarable as error:
        raise OverrideError([(f"config: {path}", what) for path, what in error.faults]) from None
    kept = found.settings
    settings = replace(said.settings, description=kept.description, metrics=kept.metrics)
    if "version_policy" not in values:
        settings = replace(settings, version_policy=kept.version_policy)
    if said.filename is None:
        return replace(found, settings=settings)
    onnx = found.folder / said.filename
    onnx = onnx / said.filename if onnx.is_dir() else onnx
    if not onnx.is_file():
        what = f"version {found.version} has no file {_quoted(said.filename)}"
        raise OverrideError([("config: $.default_model_filename", what)])
    return replace(found, settings=settings, onnx=onnx)


def files_in(parameters: Mapping[str, object]) -> dict[str, bytes]:
    """Return the files that a load request brings, by `<version>/<name>`.

    Shapes: each is base64, in a text or in a view of bytes.
    Raises: OverrideError with every fault.
    """
    files: dict[str, bytes] = {}
    faults: list[tuple[str, str]] = []
    for key, value in parameters.items():
        if not key.startswith(_FILE):
            continue
        content = _decoded(value)
        if content is None:
            faults.append((_quoted(key), "expected the contents in base64"))
        else:
            files[key.removeprefix(_FILE)] = content
    if faults:
        raise OverrideError(faults)
    return files


def _decoded(value: object) -> bytes | None:
    """Return what is written in base64, a piece at a time; None where it is none."""
    if not isinstance(value, str | memoryview):
        return None
    content = BytesIO(bytes(len(value) // 4 * 3))  # what grows is copied; zeros cost nothing
    for start in range(0, len(value), _PIECE_BYTES):
        if content.tell() < start // 4 * 3:
            return None  # the piece before was padded, which only the last may be
        try:
            piece = binascii.a2b_base64(value[start : start + _PIECE_BYTES], strict_mode=True)
        except ValueError:
            return None
        content.write(piece)
    content.truncate()
    return content.getvalue()


def materialise(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write `files`, by `<version>/<name>`, below `folder`, a model's own and empty.

    Nothing is written unless every name is sound.

    Raises: OverrideError, OSError.
    """
    faults = []
    if len(files) > _MOST_FILES:
        faults.append((_quoted(_FILE), f"at most {_MOST_FILES} files, got {len(files)}"))
    faults += [(_quoted(_FILE + name), what) for name in files if (what := _fault(name, files))]
    if faults:
        raise OverrideError(faults)
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file.open("xb") as stream:
            stream.write(content)


def _fault(name: str, files: Mapping[str, bytes]) -> str | None:
    """Say what is wrong with the name of a file, if anything is."""
    parts = name.split("/")
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        return "is no text"
    if len(parts) < 2 or not is_version(parts[0]):
        return "expected <version>/<name>"
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        return "leads out of the model's folder, or nowhere"
    if max(sizes) > _MOST_COMPONENT_BYTES or sum(sizes) + len(sizes) > _MOST_NAME_BYTES:
        return (
            f"is too long: at most {_MOST_COMPONENT_BYTES} bytes between slashes, "
            f"{_MOST_NAME_BYTES} in all"
        )
    if any(str(parent) in files for parent in PurePosixPath(name).parents):
        return "lies below another file"
    return None


def _quoted(name: str) -> str:
    """Return a stranger's word in ASCII, cut to what a message may quote of it."""
    shown = ascii(name[:_MOST_QUOTED_CHARS])
    is_whole = max(len(name), len(shown) - 2) <= _MOST_QUOTED_CHARS
    return shown if is_whole else f"{shown[:_MOST_QUOTED_CHARS]}..."
