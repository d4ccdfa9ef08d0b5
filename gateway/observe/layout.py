"""Layout: where in a replica's telemetry memory each number stands.

Job    the one map of the cells, for the replica that writes and the supervisor that reads.
Never  changes while a gateway runs: both sides are started from the same code, and the
       first cell says which layout it is.

The memory is int64 cells in native order, in rows of `ROW_CELLS`. Row 0 is the replica's
own: its heartbeat, and the requests that were refused before a version was known. Every
other row belongs to one (digest, arm, revision), as the supervisor assigned it; the arm
`direct` has what was asked for by version, or pinned. A cell
has one writer, so no cell needs a lock; an aligned int64 is never seen half written.

A row, from its first cell:

    EXECUTING            executions in flight: not a counter, but a gauge
    LAST_INFERENCE_MS    since 1970; the time of the last success
    SIZES_USED           how many of the size slots are taken
    ...counters...
    OUTCOMES             requests by outcome, in the order of `OUTCOME_NAMES`
    ...more counters...
    REQUEST, QUEUE, EXECUTION   histograms: one cell per bucket of `BUCKETS_S`, one more
                         for what is above them all
    SHED                 requests refused, in the order of `SHED_NAMES`
    BREAKERS             how executor instances are, as `observe/breakers.py` writes it: not
                         counters, but gauges
    SIZES                slots of SIZE_CELLS, one per batch size seen: rows, executions,
                         input, infer and output nanoseconds

Units: every duration is in nanoseconds.

What counts, and as what. A request is one of OUTCOMES, once; what was tried (it succeeded,
or its outcome is in `FAILED_OUTCOMES`) is in REQUEST as well, so that

    sum of REQUEST     requests whose time is in SUCCESS_NS or FAIL_NS
    sum of QUEUE       requests that succeeded, whose time is in QUEUE_NS
    sum of EXECUTION   EXECUTIONS, whose time is in EXECUTION_NS
    INFERENCES         sum of rows * executions over SIZES, while there are slots

An execution is counted whatever came of it: it failed, it was given up because the version
closed, it was a half of one that failed. Its size is the rows of those calls that still had
a caller when it succeeded; if none had, it stands in no slot.

A call that was cut into parts is one request, counted when its last part is in; it is
charged the execution of that part, and all the time before as queueing. Its parts count
their rows where they ran, also if a later part fails the call: counters never go back.
For the same reason an answer that cannot be written after its execution succeeded is
counted twice, as the success that it was to the model and as `internal`.
"""

from typing import get_args

from gateway.errors import Shed

LAYOUT = 3  # what cell 0 of the memory says

# Row 0
LAYOUT_CELL = 0
HEARTBEAT_NS = 1  # monotonic; written ten times a second
CONNECTIONS = 2  # open now
MOVED = 3  # versions that left the event loop for a thread
# Where another row has its sizes: pairs of cells, one for each place that the supervisor gave to
# the name of a quota's holder: what was asked, and how much of it was over the quota.

# Any other row
EXECUTING = 0
LAST_INFERENCE_MS = 1
SIZES_USED = 2
SUCCESS_NS = 3  # from the last byte of the body to the answer
QUEUE_NS = 4  # from then to the start of the execution; successes only
INPUT_NS = 5  # joining the rows; successes only, each charged its whole batch's time
INFER_NS = 6  # running the model; as above
OUTPUT_NS = 7  # checking the outputs; as above
EXECUTION_NS = 8  # all three, once an execution; from start to end where it failed
EXECUTIONS = 9  # model runs, failed ones too
INFERENCES = 10  # rows run for requests that had not failed; padding is none

OUTCOMES = 11
OUTCOME_NAMES = (
    "success",
    # tried and lost: the protocol's `fail`
    "client_gone",
    "deadline_exceeded",
    "model_failed",
    "internal",
    # refused before anything was spent
    "malformed",
    "invalid_tensor",
    "unknown_model",
    "unknown_version",
    "too_large",
    "overloaded",
    "quota_exceeded",
    "breaker_open",
    "not_ready",
    "draining",
    "unauthenticated",
    "forbidden",
    "other",
)
HEAD_CELLS = 12  # all up to the successes: a record writes them in one go, in this order
FAILED_OUTCOMES = ("client_gone", "deadline_exceeded", "model_failed", "internal")

FAIL_NS = 32  # as SUCCESS_NS, of the outcomes in FAILED_OUTCOMES
SHED_ROWS = 33  # of requests refused because too much was waiting
FALLBACKS = 34  # requests that another arm was asked instead

SHADOWED = 35  # calls of a shadow, in the order of `SHADOW_NAMES`
SHADOW_NAMES = ("agreed", "disagreed", "failed", "dropped")

BUCKETS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
HISTOGRAM_CELLS = len(BUCKETS_S) + 1

REQUEST = 40
QUEUE = REQUEST + HISTOGRAM_CELLS
EXECUTION = QUEUE + HISTOGRAM_CELLS
DISAGREEMENTS = 96  # rows of a shadow, by output; the last cell has all further outputs
MOST_OUTPUTS = 16
SHED = 112  # requests by what there was no room for
SHED_NAMES: tuple[Shed, ...] = get_args(Shed)
RETRIES = 122  # batches that another endpoint was asked for as well
BREAKERS = 128
MOST_BREAKERS = 16  # further instances are not shown
SIZES = 144
SIZE_CELLS = 5
MOST_SIZES = 1024  # sizes beyond are counted everywhere but in a slot

QUOTAS = SIZES  # of row 0
MOST_QUOTAS = 1000

ROW_CELLS = 5632  # 44 KiB, eleven pages: rows share none
MOST_ROWS = 16384
MEMORY_BYTES = ROW_CELLS * MOST_ROWS * 8

assert OUTCOMES + OUTCOME_NAMES.index("success") + 1 == HEAD_CELLS
assert OUTCOMES + len(OUTCOME_NAMES) <= FAIL_NS
assert max(FAIL_NS, SHED_ROWS, FALLBACKS) < SHADOWED
assert SHADOWED + len(SHADOW_NAMES) <= REQUEST
assert EXECUTION + HISTOGRAM_CELLS <= DISAGREEMENTS
assert DISAGREEMENTS + MOST_OUTPUTS <= SHED
assert SHED + len(SHED_NAMES) <= RETRIES < BREAKERS
assert BREAKERS + MOST_BREAKERS <= SIZES
assert SIZES + SIZE_CELLS * MOST_SIZES <= ROW_CELLS
assert QUOTAS + 2 * MOST_QUOTAS <= ROW_CELLS
