"""What the SDK can, the command line can; and docs/cli.md says so."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from podstack import MLOpsClient
from podstack.cli import root
from podstack.run import ActiveRun
from tests.cli.test_program import commands

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "cli.md"

# A new public method of MLOpsClient needs a line here: its command, or the reason why it has none.
COMMANDS = {
    "me": "whoami",
    "create_experiment": "experiments create",
    "get_experiment": "experiments show",
    "list_experiments": "experiments list",
    "update_experiment": "experiments update",
    "archive_experiment": "experiments archive",
    "restore_experiment": "experiments restore",
    "get_run": "runs show",
    "list_runs": "runs list",
    "update_run": "runs update",
    "delete_run": "runs delete",
    "restore_run": "runs restore",
    "kill_run": "runs kill",
    "list_run_alerts": "runs alerts list",
    "create_run_alert": "runs alerts create",
    "delete_run_alert": "runs alerts rm",
    "get_metric_history": "runs history",
    "get_metric_histories": "runs histories",
    "compare_runs": "runs compare",
    "export_metrics": "runs export-metrics",
    "export_runs": "runs export",
    "list_artifacts": "runs files",
    "download_artifacts": "runs download",
    "register_model": "models register",
    "get_model": "models show",
    "list_models": "models list",
    "update_model": "models update",
    "delete_model": "models delete",
    "create_model_version": "versions create",
    "get_model_version": "versions show",
    "list_model_versions": "versions list",
    "update_model_version": "versions update",
    "delete_model_version": "versions delete",
    "quarantine_model_version": "versions quarantine",
    "release_model_version": "versions release",
    "get_inspection": "versions inspect",
    "set_model_version_tag": "versions tag set",
    "delete_model_version_tag": "versions tag rm",
    "compare_model_versions": "versions compare",
    "list_model_version_artifacts": "versions files",
    "download_model_version": "versions download",
    "transition_model_version_stage": "versions transition",
    "list_transitions": "versions history",
    "set_model_alias": "aliases set",
    "get_model_by_alias": "aliases show",
    "list_model_aliases": "aliases list",
    "delete_model_alias": "aliases rm",
    "invite_member": "members invite",
    "list_invitations": "members invitations",
    "revoke_invitation": "members uninvite",
    "create_webhook": "webhooks create",
    "list_webhooks": "webhooks list",
    "get_webhook": "webhooks show",
    "update_webhook": "webhooks update",
    "delete_webhook": "webhooks delete",
    "ping_webhook": "webhooks ping",
    "list_webhook_deliveries": "webhooks deliveries",
    "redeliver": "webhooks redeliver",
    "list_notifications": "notifications list",
    "read_notifications": "notifications read",
    "get_notification_choices": "notifications choices",
    "set_notification_choice": "notifications choose",
    "list_approvals": "approvals list",
    "get_approval": "approvals show",
    "approve": "approvals approve",
    "reject": "approvals reject",
    "cancel_approval": "approvals cancel",
    "comment_approval": "approvals comment",
    "set_approval_policy": "approvals set-policy",
    "list_approval_policies": "approvals policies",
    "delete_approval_policy": "approvals delete-policy",
    "get_promotion_rules": "approvals rules",
    "set_promotion_rules": "approvals rules",
    "rollback_model": "models rollback",
    "upload_training_code": "schedules upload-code",
    "fetch_training_code": "schedules fetch-code",
    "list_training_code": "schedules code",
    "create_schedule": "schedules create",
    "get_schedule": "schedules show",
    "list_schedules": "schedules list",
    "update_schedule": "schedules update",
    "pause_schedule": "schedules pause",
    "resume_schedule": "schedules resume",
    "delete_schedule": "schedules delete",
    "get_schedule_times": "schedules times",
    "trigger_schedule": "schedules trigger",
    "list_schedule_executions": "schedules executions",
    "list_deleted_schedule_executions": "schedules deleted-executions",
    "get_schedule_execution": "schedules execution",
    "stop_schedule_execution": "schedules stop",
    "read_execution_log": "schedules log",
    "wait_for_execution": "schedules wait",
    "get_lineage": "lineage show",
    "get_lineage_events": "lineage events",
    "get_impact": "lineage impact",
    "notify_owners": "lineage notify",
    "quarantine_impact": "lineage quarantine",
    "release_impact": "lineage release",
    "list_datasets": "datasets list",
    "get_dataset": "datasets show",
    "mark_dataset": "datasets mark",
    "clear_dataset": "datasets clear",
    "list_run_inputs": "runs inputs",
    "run_again": "runs again",
    "get_recipe": "versions recipe",
    "deploy_model": "deployments deploy",
    "get_deployment": "deployments show",
    "list_deployments": "deployments list",
    "update_deployment": "deployments update",
    "rollback_deployment": "deployments rollback",
    "promote_rollout": "deployments promote",
    "abort_rollout": "deployments abort",
    "set_shadow": "deployments shadow",
    "unset_shadow": "deployments shadow",
    "list_deployment_revisions": "deployments revisions",
    "list_deployment_events": "deployments events",
    "get_deployment_metrics": "deployments metrics",
    "get_deployment_logs": "deployments logs",
    "list_gpu_types": "deployments gpu-types",
    "undeploy": "deployments undeploy",
    "redeploy": "deployments deploy-again",
    "delete_deployment": "deployments delete",
    "search_runs": "runs search",
    "search_model_versions": "versions search",
    "log_validation_metrics": "versions log-metrics",
    "get_model_standing": "models standing",
    "copy_model_version": "versions copy",
    "export_model_version": "versions export",
    "import_model_version": "versions import",
    "get_bundle_key": "versions bundle-key",
    "list_trash": "trash list",
    "restore_model": "models restore",
    "restore_model_version": "versions restore",
    "protect_alias": "protections alias",
    "protect_stage": "protections stage",
    "list_protections": "protections list",
    "remove_protection": "protections rm",
    "bulk": "bulk",
    "list_members": "members list",
    "set_member": "members set",
    "remove_member": "members rm",
    "list_groups": "groups list",
    "set_group": "groups set",
    "delete_group": "groups rm",
    "list_tokens": "tokens list",
    "create_token": "tokens create",
    "revoke_token": "tokens revoke",
    "list_audit": "audit list",
    "predict": "deployments predict",
    "batch_predict": "deployments batch-predict",
}
WITHOUT_COMMAND = {
    "iter_predictions": "batch_predict's lines one by one, for programs",
    "start_run": "a run is recorded from the program that trains, in a `with` block",
    "path": "an address for the other calls",
    "listed": "an iterator for the other calls",
}
OF_A_RUN = {
    "log_artifact": "runs log-artifact",
    "log_artifacts": "runs log-artifact",
    "end": "runs end",
    "use_model": "runs use-model",
}


def public_methods(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


ALL = {" ".join(words) for words, _ in commands(root)}


def test_each_method_of_the_client_has_a_command_or_a_reason() -> None:
    assert public_methods(MLOpsClient) == set(COMMANDS) | set(WITHOUT_COMMAND)
    assert not set(COMMANDS) & set(WITHOUT_COMMAND)
    assert set(OF_A_RUN) <= public_methods(ActiveRun)


def test_each_command_that_is_named_is_there() -> None:
    assert {*COMMANDS.values(), *OF_A_RUN.values()} <= ALL


@pytest.mark.parametrize("command", sorted(ALL))
def test_the_page_has_a_row_for_each_command(command: str) -> None:
    assert f"| `{command}" in PAGE.read_text()


def test_the_page_names_no_command_that_is_not_there() -> None:
    rows = re.findall(r"^\| `([a-z][a-z\- ]*[a-z])", PAGE.read_text(), re.MULTILINE)
    assert len(rows) > 40
    assert set(rows) == ALL
