"""Flaws of other servers and registries, and the tests here that would have shown them.

Each flaw has its tests by name, so that none is renamed or removed without this list.
"""

import ast
from pathlib import Path

import pytest

from gateway.config.document import GatewayConfig
from gateway.config.sections import is_loopback
from tests.support.harness.gateway import GatewayHarness

_ROOT = Path(__file__).parents[1]
_GATEWAY = "integration/gateway"

LESSONS = {
    "1. authentication missing on another path (CVE-2026-24207, CVE-2026-2652, CVE-2026-33186)": (
        f"{_GATEWAY}/test_every_method.py::test_every_method_has_a_rule_and_no_rule_is_left_over",
        f"{_GATEWAY}/test_every_method.py::test_few_methods_are_open_to_anyone",
        f"{_GATEWAY}/test_every_method.py::test_anonymous_callers_are_refused",
        f"{_GATEWAY}/test_every_method.py::test_roles_decide_before_the_request_is_looked_at",
        f"{_GATEWAY}/test_every_listener.py::test_roles_decide_on_every_way_in",
        f"{_GATEWAY}/test_every_listener.py::test_nobody_is_let_in_unknown",
        "unit/gateway/auth/test_interceptor.py::test_a_method_without_a_rule_is_refused",
    ),
    "2. management open by default (CVE-2023-48022)": (
        "unit/gateway/config/test_document.py::test_what_is_wrong_is_said",
        "unit/gateway/config/test_document.py::test_no_issuer_means_nobody_could_authenticate",
        "unit/gateway/config/test_document.py::test_not_loopback",
        "unit/test_attack_lessons.py::test_a_new_installation_listens_on_loopback_with_tls",
    ),
    "3. SQL injection in the key check (CVE-2026-42208)": (
        "integration/gateway/test_hostile_texts.py::test_hostile_credentials_are_refused",
        "integration/gateway/test_hostile_texts.py::test_hostile_fields_are_refused_by_a_reason_alone",
        "unit/test_forbidden_code.py::test_no_sql_is_composed_at_run_time",
        f"{_GATEWAY}/test_credentials.py::test_an_api_key_is_nowhere_on_the_disk",
    ),
    "4. path traversal by names, versions, tags (CVE-2026-24208, CVE-2023-1177, CVE-2026-2614)": (
        "integration/gateway/test_hostile_texts.py::test_hostile_fields_are_refused_by_a_reason_alone",
        f"{_GATEWAY}/test_uploads.py::test_paths_that_are_not_plain_names",
    ),
    "5. ONNX external data that escapes (CVE-2022-25882, CVE-2024-27318, CVE-2026-27489)": (
        f"{_GATEWAY}/test_uploads.py::test_a_graph_with_data_outside_itself",
        "unit/registry/formats/test_formats.py::test_data_outside",
        "integration/inference/test_admission.py::test_only_plain_onnx_is_opened",
    ),
    "6. a signature that does not cover what is loaded": (
        f"{_GATEWAY}/test_uploads.py::test_a_file_that_the_manifest_does_not_name",
        f"{_GATEWAY}/test_uploads.py::test_a_missing_file",
        f"{_GATEWAY}/test_uploads.py::test_a_signature_over_other_files",
        f"{_GATEWAY}/test_failures.py::test_an_altered_version_is_not_loaded_and_an_approver_notices",
        f"{_GATEWAY}/test_failures.py::test_a_revoked_version_stops_and_cannot_come_back",
        "integration/inference/test_admission.py::test_a_version_with_a_file_too_many",
        "integration/inference/test_admission.py::test_a_file_that_is_gone",
        "integration/inference/test_admission.py::test_an_edited_manifest",
        "integration/inference/test_admission.py::test_a_withdrawn_key_stops_what_it_signed",
        "unit/registry/storage/test_artifact_folder.py::test_a_link_in_a_file_s_place",
        "integration/inference/test_replay.py::test_an_older_pointer_with_its_own_statement",
    ),
    "7. errors that leak (CVE-2025-23319)": (
        "integration/gateway/test_error_texts.py::test_no_exception_text_reaches_a_caller",
        "integration/gateway/test_hostile_texts.py::test_hostile_fields_are_refused_by_a_reason_alone",
        f"{_GATEWAY}/test_predict.py::"
        "test_an_adversarial_input_is_refused_with_a_receipt_and_without_a_score",
    ),
    "8. pickle anywhere (CVE-2024-2912, CVE-2026-3059)": (
        "unit/test_forbidden_code.py::test_forbidden_modules_are_not_imported",
        "unit/test_forbidden_code.py::test_no_loader_that_can_run_code_is_called",
        "unit/registry/formats/test_formats.py::test_foreign_bytes_by_an_accepted_name",
        f"{_GATEWAY}/test_uploads.py::test_a_pickle_renamed",
    ),
    "9. overflow and exhaustion (CVE-2025-23310, CVE-2023-44487)": (
        "unit/sealgate/test_tensors.py::test_a_shape_that_no_array_can_have_is_refused_at_once",
        "integration/gateway/test_rapid_reset.py::test_rapid_resets_leave_the_server_answering",
        "integration/gateway/test_silent_callers.py::test_unknown_callers_leave_room_for_others",
        "integration/gateway/test_watch_limits.py::"
        "test_watchers_are_bounded_and_leaving_frees_a_place",
        "integration/gateway/test_connection_limit.py::test_silent_connections_are_closed",
        f"{_GATEWAY}/test_predict.py::test_bad_requests_have_their_reason",
        f"{_GATEWAY}/test_predict.py::test_a_far_larger_message_is_not_even_read",
    ),
    "10. caller-supplied identity trusted": (
        f"{_GATEWAY}/test_transport.py::test_identity_headers_are_not_looked_at",
        f"{_GATEWAY}/test_transport.py::test_credentials_that_are_refused",
        f"{_GATEWAY}/test_transport.py::test_token_and_certificate_must_be_the_same_principal",
        "unit/gateway/auth/test_tokens.py::test_roles_in_claims_are_not_looked_at",
        "integration/gateway/test_request_ids.py::test_ids_with_control_characters_are_refused",
    ),
    "11. archive slips": (
        "unit/test_forbidden_code.py::test_forbidden_modules_are_not_imported",
        "unit/test_forbidden_code.py::test_no_loader_that_can_run_code_is_called",
        "unit/registry/formats/test_formats.py::test_foreign_bytes_by_an_accepted_name",
        "unit/registry/formats/test_formats.py::test_names_that_are_not_accepted",
    ),
    "12. server-side fetch of a caller's URL": (
        "unit/gateway/auth/test_tokens.py::test_addresses_in_a_token_are_not_looked_at",
        "unit/gateway/auth/test_remote_keys.py::test_redirects_are_not_followed",
        "unit/test_forbidden_code.py::test_forbidden_modules_are_not_imported",
    ),
    "13. an older approved state replayed, or an expired one": (
        "integration/inference/test_replay.py::test_an_older_pointer_with_its_own_statement",
        "integration/inference/test_replay.py::test_an_older_pointer_with_a_newer_statement",
        "integration/inference/test_replay.py::test_an_older_policy",
        "integration/inference/test_replay.py::test_what_is_live_goes_on_until_the_grace_ends",
        f"{_GATEWAY}/test_forged_rows.py::test_an_older_pointer_and_a_fork",
        f"{_GATEWAY}/test_intruder.py::test_databases_of_last_week_at_the_start",
    ),
    "14. two views of one log": (
        "contract/registry/test_several_writers.py::test_a_history_that_forked_is_refused",
        "integration/client/test_fork.py::test_a_state_put_back_to_an_earlier_day_is_noticed",
        "integration/witnesses/test_submitting.py::test_a_log_that_went_back_or_forked",
        f"{_GATEWAY}/test_witnesses.py::test_a_fork_stops_the_answers_for_good",
        f"{_GATEWAY}/test_watch_log.py::test_a_log_that_shrank_is_found_out",
    ),
    "15. one key counted twice toward a threshold": (
        f"{_GATEWAY}/test_policy_changes.py::test_one_key_twice",
        f"{_GATEWAY}/test_policy_changes.py::test_one_person_with_two_root_keys",
        f"{_GATEWAY}/test_governance.py::test_one_approver_twice",
        f"{_GATEWAY}/test_forged_rows.py::test_a_forged_move",
    ),
    "16. crash between database, leaf and checkpoint": (
        "contract/registry/test_killed_at_each_step.py::test_a_change_of_state",
        "contract/registry/test_killed_at_each_step.py::test_a_group_of_answers",
        "contract/registry/test_killed.py::test_registry_killed_at_any_moment",
        "contract/registry/test_killed.py::test_answer_log_killed_at_any_moment",
    ),
}


def functions(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("lesson", LESSONS)
def test_each_flaw_has_its_tests(lesson: str) -> None:
    missing = [
        test
        for test in LESSONS[lesson]
        if test.partition("::")[2] not in functions(_ROOT / test.partition("::")[0])
    ]
    assert not missing


def test_a_new_installation_listens_on_loopback_with_tls(tmp_path: Path) -> None:
    harness = GatewayHarness(tmp_path / "state")
    listen = GatewayConfig.read(harness.state / "gateway.toml").listen
    assert is_loopback(listen.tls)
    assert is_loopback(listen.mutual)
    assert not listen.insecure
