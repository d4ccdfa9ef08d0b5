"""Every line of the protocol's checklist has its test, here or elsewhere.

Most lines are rows of test_lines.py. What one request cannot show (framing, time, several
callers, whole clients) is named here, with the tests that show it.
"""

import re
from pathlib import Path

from tests.conformance.test_lines import LINES

ROOT = Path(__file__).parents[2]
LAST = {
    "E": 9, "R": 12, "M": 4, "I": 13, "T": 7, "B": 10, "O": 4, "C": 3, "P": 9, "G": 2, "S": 9,
    "K": 7, "D": 5, "N": 7, "H": 10,
}  # fmt: skip
# Optional lines, and what waits for the part of the product that it speaks of.
NOT_YET = {
    "C3": "answers are never compressed, so there is nothing to choose",
    "O4": "there is no cache",
    "R10": "optional: a base path",
    "S9": "optional: names of metrics that are another server's",
}
ELSEWHERE = {
    "E1": (
        "test_a_bad_request_is_refused_and_the_next_good_one_answered",
        "test_every_path_by_every_method",
    ),
    "E2": (
        "test_a_bad_request_is_refused_and_the_next_good_one_answered",
        "test_a_refusal_is_an_exception_with_our_words",
    ),
    "E3": (
        "test_a_bad_request_is_refused_and_the_next_good_one_answered",
        "test_a_refusal_is_an_exception_with_our_words",
    ),
    "E8": (
        "test_who_may_come_again_is_told_when_in_whole_seconds",
        "test_a_full_queue_says_when_to_come_back",
    ),
    "R11": ("test_an_answer_comes_whatever_was_hoped_for",),
    "M3": ("test_what_is_loaded_is_what_was_proved",),
    "I2": (
        "test_httpx_may_send_in_chunks",
        "test_more_chunks_than_the_limit_are_refused",
    ),
    "T6": (
        "test_strings_that_do_not_fit_are_refused",
        "test_text_must_be_utf_8",
    ),
    "T7": (
        "test_a_type_that_the_protocol_cannot_carry_is_refused_by_the_tensors_name",
        "test_brain_floats_travel_in_binary",
    ),
    "B5": (
        "test_strings_have_their_length_before_them",
        "test_a_string_that_overruns_its_blob_does_not_read_the_next",
    ),
    "O3": (
        "test_an_output_without_elements_is_an_empty_list",
        "test_booleans_become_bytes",
    ),
    "P5": ("test_a_full_queue_says_so_in_triton_s_words",),
    "P6": (
        "test_whoever_asked_well_and_stayed_is_answered_with_its_own_rows",
        "test_one_poisoned_row_fails_alone",
    ),
    "P7": (
        "test_a_client_that_leaves_takes_its_queued_calls_along",
        "test_whoever_stays_gets_the_right_answers",
    ),
    "S2": ("test_what_callers_saw_is_what_was_counted",),
    "S3": ("test_the_identities_of_the_protocol_hold",),
    "S4": ("test_the_identities_of_the_protocol_hold",),
    "S5": ("test_the_identities_of_the_protocol_hold",),
    "S6": ("test_the_identities_of_the_protocol_hold",),
    "S7": ("test_only_what_was_queued_and_failed_is_a_failure",),
    "S8": (
        "test_an_answer_is_counted_before_its_caller_has_it",
        "test_no_number_goes_back_while_replicas_are_killed_under_load",
    ),
    "D2": ("test_what_is_on_disk_and_not_loaded_is_known_and_what_is_not_there_is_not",),
    "D4": (
        "test_a_load_may_bring_a_configuration",
        "test_a_load_may_bring_files",
        "test_a_name_that_leads_elsewhere_is_a_400",
    ),
    "D5": (
        "test_an_unloaded_model_is_known_and_not_ready",
        "test_what_is_unloaded_under_load_is_answered_or_refused_and_nothing_else",
        "test_an_unload_may_speak_of_dependents",
    ),
    "N1": (
        "test_v2_is_known_by_its_content_whatever_it_is_called",
        "test_mlflow_s_json_is_read_by_either_name",
    ),
    "N3": (
        "test_sagemaker_infers_in_binary_and_is_told_the_length_by_the_content_type",
        "test_a_binary_type_that_is_nearly_one_is_refused",
    ),
    "N5": (
        "test_mlflow_s_columns_are_the_inputs_by_their_names",
        "test_mlflow_s_csv_is_a_frame",
        "test_mlflow_sends_a_matrix_in_four_forms",
    ),
    "N7": (
        "test_vertex_infers_in_binary_and_is_told_the_length_by_the_ordinary_header",
        "test_vertex_predicts_by_instances",
    ),
    "H1": (
        "test_a_bad_request_is_refused_and_the_next_good_one_answered",
        "test_a_malformed_head_is_refused",
    ),
    "H2": (
        "test_a_bad_request_is_refused_and_the_next_good_one_answered",
        "test_any_bytes_are_taken_or_refused_alike_in_any_pieces",
    ),
    "H3": (
        "test_a_bad_request_is_refused_and_the_next_good_one_answered",
        "test_a_target_may_be_written_in_several_ways",
    ),
    "H4": ("test_a_bad_request_is_refused_and_the_next_good_one_answered",),
    "H5": ("test_a_bad_request_is_refused_and_the_next_good_one_answered",),
    "H6": (
        "test_200_slow_senders_are_told_so_and_the_others_are_served",
        "test_who_does_not_read_his_answers_is_dropped_and_memory_stays_bounded",
    ),
    "H7": (
        "test_curl_asks_first_and_then_sends_much",
        "test_a_client_that_asks_first_may_be_refused_at_once",
    ),
    "H8": (
        "test_a_large_upload_that_is_refused_sees_its_refusal_and_no_reset",
        "test_curl_reads_its_refusal_though_it_did_not_ask_before_it_sent",
    ),
    "H9": (
        "test_a_mixed_pipeline_is_answered_in_order",
        "test_http_1_0_is_answered_once_and_closed",
        "test_an_offer_to_speak_http_2_is_ignored",
    ),
    "H10": (
        "test_a_probe_hears_that_the_server_drains_but_lives",
        "test_a_request_in_flight_is_answered_and_its_connection_closed",
    ),
}


def test_every_line_has_a_test_and_none_is_unheard_of() -> None:
    wanted = {f"{letter}{number + 1}" for letter, last in LAST.items() for number in range(last)}
    proved = {line.line for line in LINES} | ELSEWHERE.keys()
    assert wanted - proved == NOT_YET.keys()
    assert proved - wanted == set()


def test_what_proves_a_line_elsewhere_is_there() -> None:
    named = {test for tests in ELSEWHERE.values() for test in tests}
    texts = [file.read_text() for file in (ROOT / "tests").rglob("test_*.py")]
    defined = {
        name for text in texts for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)
    }
    assert named - defined == set()
