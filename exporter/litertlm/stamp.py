"""Who a bundle is: the uuid and the creation time in its header, which follow from its content.

The format's builder draws a new uuid and reads the clock for every file. Both are overwritten here, so that
equal input gives equal files: the uuid is a digest of the rest of the header, which has the SHA-256 of every
section (the tokenizer's is in the manifest), and the time is ``SOURCE_DATE_EPOCH`` or the beginning of 1970.

Source: https://reproducible-builds.org/specs/source-date-epoch/.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path

from litert_lm_builder.litertlm_builder import LitertLmFileBuilder

from exporter.bundle.reader import HEADER_BEGIN, open_bundle
from exporter.errors import BundleError, OptionsError

EPOCH_VARIABLE = "SOURCE_DATE_EPOCH"
UUID_KEY, TIME_KEY = "uuid", "creation_timestamp"

TRIES = 5

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "mtp-export.bundle")
"""Of the uuids of bundles."""


def creation_time() -> str:
    """``SOURCE_DATE_EPOCH``, else the beginning of 1970, in UTC and as long as what the builder writes.

    Raises:
        OptionsError: The variable is set to something else than seconds since 1970.
    """
    stated = os.environ.get(EPOCH_VARIABLE) or "0"
    try:
        return datetime.fromtimestamp(int(stated), UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError, OSError) as error:
        raise OptionsError(
            f"{EPOCH_VARIABLE}: expected seconds since 1970, found {stated!r}; correct it or unset it"
        ) from error


def build_stamped(builder: LitertLmFileBuilder, path: Path) -> None:
    """Have the builder write a bundle to ``path``; its uuid and time follow from its content.

    Raises:
        OptionsError: ``SOURCE_DATE_EPOCH`` is no time.
        BundleError: The builder writes times in another form.
    """
    for _ in range(TRIES):  # at a whole second the builder leaves the fraction out
        with path.open("wb") as stream:
            builder.build(stream, validate_metadata=True)
        written = str(open_bundle(path).system_metadata[TIME_KEY])
        if len(written) == len(creation_time()):
            stamp(path)
            return
    raise BundleError(
        f"{path}: expected a creation time like {creation_time()} in the header, found {written}: this "
        "version of litert-lm-builder writes it otherwise; install one that mtp-export was tested with"
    )


def stamp(path: Path) -> None:
    """Overwrite uuid and creation time in the header of a bundle.

    Raises:
        OptionsError: ``SOURCE_DATE_EPOCH`` is no time.
    """
    bundle = open_bundle(path)
    header_bytes = min(section.begin for section in bundle.sections) - HEADER_BEGIN
    with path.open("r+b") as stream:
        stream.seek(HEADER_BEGIN)
        header = stream.read(header_bytes)
        found = [bundle.system_metadata[key].encode() for key in (UUID_KEY, TIME_KEY)]
        blank = header
        for value in found:
            blank = blank.replace(value, b"\0" * len(value))
        identity = uuid.uuid5(NAMESPACE, hashlib.sha256(blank).hexdigest())
        for old, new in zip(found, (str(identity), creation_time()), strict=True):
            header = header.replace(old, new.encode())
        stream.seek(HEADER_BEGIN)
        stream.write(header)
        assert stream.tell() == HEADER_BEGIN + header_bytes
