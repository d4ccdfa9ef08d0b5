import asyncio
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.supervise.documents.filestore import FileStore
from gateway.supervise.documents.known import Known
from gateway.supervise.documents.store import Conflict
from tests.supervise.documents.papers import a_document, during, read, revisions_of

SIGHTS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 5)), max_size=8)


@settings(max_examples=25)
@given(SIGHTS)
def test_the_highest_of_all_that_was_seen_is_known_and_kept_in_whatever_order(
    sights: list[tuple[str, int]],
) -> None:
    highest: Counter[str] = Counter()
    for model, revision in sights:
        highest[model] = max(highest[model], revision)

    async def scene() -> None:
        with TemporaryDirectory() as folder:
            async with FileStore(Path(folder), read) as files:
                known = Known(files, lambda _: None)
                await asyncio.gather(*(known.adopt(a_document(*sight)) for sight in sights))
                assert revisions_of(known.newest) == highest
                assert revisions_of(await files.current()) == highest

    during(scene)


def test_news_are_told_once_and_after_they_are_kept(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []

    def hear(model: str) -> None:
        told.append((model, len(list(tmp_path.glob("m/*")))))

    async def scene() -> None:
        async with FileStore(tmp_path, read) as files:
            known = Known(
                files, lambda model: told.append((model, len(list(tmp_path.glob("m/*")))))
            )
            for revision in (2, 2, 1, 3):
                await known.adopt(a_document("m", revision))

    during(scene)
    assert told == [("m", 1), ("m", 2)]


def test_what_is_written_by_oneself_is_no_news_until_it_failed(tmp_path: Path) -> None:
    told: list[str] = []

    async def scene() -> None:
        async with FileStore(tmp_path, read) as files:
            known = Known(files, told.append)
            for document, is_done in ((a_document("m"), True), (a_document("n"), False)):
                known.begin(document)
                if is_done:
                    await known.adopt(document)
                known.end(document)
                await known.adopt(document)

    during(scene)
    assert told == ["n"]


def test_what_cannot_be_next_is_not_begun(tmp_path: Path) -> None:
    async def scene() -> None:
        async with FileStore(tmp_path, read) as files:
            known = Known(files, lambda _: None)
            await known.adopt(a_document("m", 2))
            for revision in (1, 2):
                with pytest.raises(Conflict) as caught:
                    known.begin(a_document("m", revision, "late"))
                assert caught.value.current == a_document("m", 2)
            known.begin(a_document("m", 3))

    during(scene)


def test_what_the_disk_has_is_known_again(tmp_path: Path) -> None:
    async def scene() -> None:
        async with FileStore(tmp_path, read) as files:
            await Known(files, lambda _: None).adopt(a_document())
            again = Known(files, lambda _: None)
            assert again.newest == {}
            await again.load()
            assert again.newest == {"m": a_document()}
            assert again.faults() == ()

    during(scene)
