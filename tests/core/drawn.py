"""Strategies: routing documents and weights as Hypothesis draws them."""

import itertools
import string
from collections.abc import Sequence

from hypothesis import strategies as st

from gateway.core.clauses import SECRET_HEADERS
from gateway.core.documents import (
    WHOLE_BP,
    Comparison,
    Condition,
    Document,
    Matches,
    Rule,
    Shadow,
    Share,
    Sticky,
    Variant,
)
from gateway.core.ranges import apportion

_LETTERS = string.ascii_letters + string.digits + "._-"
names = st.text(_LETTERS, min_size=1, max_size=64).filter(lambda name: name != "direct")
versions = st.one_of(
    st.integers(0, 10**9).map(str), st.from_regex(r"[a-z][a-z0-9._-]{0,8}", fullmatch=True)
)
plain = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)
headers = st.text(string.ascii_lowercase + "-!~", min_size=1, max_size=20).filter(
    lambda name: name not in SECRET_HEADERS  # which Hypothesis finds in the code, and tries
)
shares = st.integers(0, WHOLE_BP)
tolerances = st.floats(0, 1e300)
comparisons = st.one_of(
    st.just(Comparison("label")),
    st.builds(Comparison, st.just("numeric"), tolerances, tolerances),
    st.builds(lambda k: Comparison("top_k", k=k), st.integers(1, 1000)),
    st.builds(Comparison, st.just("distribution"), tolerances),
)
conditions: st.SearchStrategy[Condition] = st.one_of(
    st.builds(Matches, st.just("header"), headers, plain),
    st.builds(Matches, st.just("parameter"), plain, plain),
    st.builds(Share, shares),
)


def weights(count: int) -> st.SearchStrategy[list[int]]:
    """So many weights that add up to the whole; many are 0, and some are alike."""
    cuts = st.lists(
        st.one_of(shares, st.sampled_from((0, 500, 1000, 5000, WHOLE_BP))),
        min_size=count - 1,
        max_size=count - 1,
    )
    return cuts.map(_between)


def _between(cuts: Sequence[int]) -> list[int]:
    edges = [0, *sorted(cuts), WHOLE_BP]
    return [after - before for before, after in itertools.pairwise(edges)]


def arms(weights_bp: Sequence[int]) -> tuple[Variant, ...]:
    """Return variants of these weights, called a, b, c and so on."""
    return tuple(Variant(chr(97 + at), "1", weight) for at, weight in enumerate(weights_bp))


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Any document that may be stored."""
    named = draw(st.lists(names, min_size=1, max_size=6, unique=True))
    count = draw(st.integers(1, len(named)))
    own = named[:count]
    variants = tuple(
        Variant(name, draw(versions), weight)
        for name, weight in zip(own, draw(weights(count)), strict=True)
    )
    shadows = tuple(
        Shadow(
            name,
            draw(versions),
            draw(st.floats(0, 1)),
            draw(st.dictionaries(plain, comparisons, max_size=3)),
        )
        for name in named[count:]
    )
    some = st.lists(conditions, min_size=1, max_size=3).map(tuple)
    return Document(
        draw(st.sampled_from(("digits", "Кот", "a b"))),
        draw(st.integers(0, 10**12)),
        variants,
        shadows,
        tuple(
            draw(st.lists(st.builds(Rule, st.sampled_from(own), some, st.booleans()), max_size=3))
        ),
        draw(
            st.none()
            | st.builds(Sticky, st.just("header"), headers, plain)
            | st.builds(Sticky, st.just("parameter"), plain, plain)
        ),
        draw(st.none() | st.sampled_from(own)),
        draw(plain | st.just("")),
        draw(plain | st.just("")),
        draw(plain | st.just("")),
        apportion((), variants) if draw(st.booleans()) else (),
    )
