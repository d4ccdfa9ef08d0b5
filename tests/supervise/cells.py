"""Cells written by hand, as a replica writes them: the reading side is tested without it."""

from gateway.observe import layout

SUCCESS = layout.OUTCOMES + layout.OUTCOME_NAMES.index("success")


def execute(row: memoryview, rows: int = 1, each_ns: int = 1000) -> None:
    """Write one execution of `rows` requests of a row each, which all succeeded."""
    row[SUCCESS] += rows
    row[layout.SUCCESS_NS] += 5 * rows * each_ns
    row[layout.REQUEST] += rows
    row[layout.QUEUE_NS] += rows * each_ns
    row[layout.QUEUE] += rows
    for cell in (layout.INPUT_NS, layout.INFER_NS, layout.OUTPUT_NS):
        row[cell] += rows * each_ns
    row[layout.EXECUTION_NS] += 3 * each_ns
    row[layout.EXECUTION] += 1
    row[layout.EXECUTIONS] += 1
    row[layout.INFERENCES] += rows
    row[layout.LAST_INFERENCE_MS] += 1
    slot = _slot(row, rows)
    row[slot + 1] += 1
    for cell in range(slot + 2, slot + layout.SIZE_CELLS):
        row[cell] += each_ns


def refuse(row: memoryview, outcome: str, count: int = 1) -> None:
    """Write requests that got an error, in no time worth counting."""
    row[layout.OUTCOMES + layout.OUTCOME_NAMES.index(outcome)] += count
    if outcome in layout.FAILED_OUTCOMES:
        row[layout.REQUEST] += count


def _slot(row: memoryview, rows: int) -> int:
    used = row[layout.SIZES_USED]
    for slot in range(layout.SIZES, layout.SIZES + used * layout.SIZE_CELLS, layout.SIZE_CELLS):
        if row[slot] == rows:
            return slot
    slot = layout.SIZES + used * layout.SIZE_CELLS
    row[slot] = rows
    row[layout.SIZES_USED] = used + 1
    return slot
