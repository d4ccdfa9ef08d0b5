"""Ranges: which buckets belong to which variant, before a change of weights and after it.

Job    share 2**32 buckets by weight, moving as few of them as the change asks for.
Life   pure functions.
Never  moves a bucket from one variant to another unless the first one shrank and the second
       one grew: raising a canary moves nobody back, and no third arm feels it.

Theory of operation. A variant holds pieces of the ring of buckets, in the order in which it
got them. Those that shrink give up the end of what they hold, one after another, as it
stands; those that grow take from that row, one after another, and add it to their ends. So
the buckets that move are as many as all the growth together, which is the least there can
be; and a step that is taken straight back runs the same row the other way, and returns to
everybody exactly what they had. "One after another" is by name, so that the order of a
document means nothing. Where no bucket was ever given out, the variants stand side by side.

Pieces remember history, and would grow with it without end: by almost a piece a variant with
every new split. So above MANY_PIECES just as many buckets move, but others: first those that
lie where a variant that grows would stand if all stood side by side, and to that one. That
mends the ring as it goes; such a step alone, taken back, may return other buckets. Measured
over 3,000 random changes: at most 310 pieces for up to eight variants. Sixteen that change by
hundredths of a per cent have about a thousand, after 18,000 changes no more than after 4,000.

The sizes are whole buckets. A weight that is not a whole number of them is rounded down, and
the largest weight takes what is left over: less than one bucket for each variant.
"""

from collections.abc import Iterable, Mapping, Sequence

from gateway.core.documents import WHOLE_BP, Piece, Variant

BUCKETS = 1 << 32
MANY_PIECES = 256


def sizes(variants: Sequence[Variant]) -> dict[str, int]:
    """Return how many buckets each variant has: in all, BUCKETS."""
    found = {one.name: one.weight_bp * BUCKETS // WHOLE_BP for one in variants}
    largest = max(variants, key=lambda one: one.weight_bp)
    found[largest.name] += BUCKETS - sum(found.values())
    return found


def apportion(before: Sequence[Piece], variants: Sequence[Variant]) -> tuple[Piece, ...]:
    """Return the pieces after a change of weights; `before` may be empty.

    Shapes: weights add up to WHOLE_BP; `before`, if there are any, to all buckets. What comes
    out is in the order in which it was got, which the next change must be given too.
    """
    wanted = sizes(variants)
    if not before:
        return tuple(_side_by_side(wanted))
    held: dict[str, list[Piece]] = {name: [] for name in wanted}
    for piece in before:
        held.setdefault(piece.variant, []).append(piece)
    growth = {name: wanted.get(name, 0) - _count(pieces) for name, pieces in held.items()}
    names = sorted(held)
    homes = _side_by_side(wanted) if len(before) > MANY_PIECES else []
    if homes:
        held = {name: _restacked(held[name], homes, growth) for name in names}
    freed = [piece for name in names for piece in _give_up(held[name], -growth[name])]
    if homes:
        freed = [one for one, _ in sorted(_at_home(freed, homes), key=lambda found: found[1])]
    freed.reverse()  # the next one to take is the last
    for name in names:
        _take(name, held[name], freed, growth[name])
        if homes:
            held[name] = _joined(sorted(held[name], key=lambda piece: piece.start))
    return tuple(piece for name in names for piece in held[name])


def _count(pieces: Iterable[Piece]) -> int:
    return sum(piece.stop - piece.start for piece in pieces)


def _side_by_side(wanted: Mapping[str, int]) -> list[Piece]:
    pieces: list[Piece] = []
    start = 0
    for name, size in wanted.items():
        if size:
            pieces.append(Piece(start, start + size, name))
            start += size
    return pieces


def _restacked(
    pieces: Sequence[Piece], homes: Sequence[Piece], growth: Mapping[str, int]
) -> list[Piece]:
    """Put what lies where a variant stands that grows last, so that it is given up first.

    What lies at its own home comes first, and is never given up: a home is as large as what
    its variant is to keep.
    """

    def urgency(found: tuple[Piece, str]) -> tuple[bool, bool, int]:
        piece, home = found
        is_away = home != piece.variant
        return is_away, is_away and growth[home] > 0, piece.start

    return _joined(piece for piece, _ in sorted(_at_home(pieces, homes), key=urgency))


def _at_home(pieces: Iterable[Piece], homes: Sequence[Piece]) -> list[tuple[Piece, str]]:
    """Cut the pieces where homes meet; return each with whose home it lies in."""
    found: list[tuple[Piece, str]] = []
    for piece in pieces:
        for home in homes:
            start, stop = max(piece.start, home.start), min(piece.stop, home.stop)
            if start < stop:
                found.append((Piece(start, stop, piece.variant), home.variant))
    return found


def _give_up(pieces: list[Piece], surplus: int) -> list[Piece]:
    """Take so many buckets from the end of `pieces`; return them as they stood there."""
    freed: list[Piece] = []
    while surplus > 0:
        last = pieces.pop()
        middle = max(last.start, last.stop - surplus)
        if middle > last.start:
            pieces.append(Piece(last.start, middle, last.variant))
        freed.append(Piece(middle, last.stop, last.variant))
        surplus -= last.stop - middle
    freed.reverse()
    return freed


def _take(name: str, pieces: list[Piece], freed: list[Piece], missing: int) -> None:
    """Move so many buckets from the end of `freed`, each piece from its start, to `pieces`."""
    while missing > 0:
        piece = freed.pop()
        middle = min(piece.stop, piece.start + missing)
        if middle < piece.stop:
            freed.append(Piece(middle, piece.stop, piece.variant))
        _append(pieces, Piece(piece.start, middle, name))
        missing -= middle - piece.start


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    joined: list[Piece] = []
    for piece in pieces:
        _append(joined, piece)
    return joined


def _append(pieces: list[Piece], piece: Piece) -> None:
    """Add a piece, as one with the last if it goes on where that ends."""
    if pieces and pieces[-1].stop == piece.start:
        pieces[-1] = Piece(pieces[-1].start, piece.stop, piece.variant)
    else:
        pieces.append(piece)
