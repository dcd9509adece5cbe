"""What each page answers: to GET, and to a POST without content, by viewer, contributor, maintainer and admin.

422 is the form that comes back; a page that takes no form answers 405.
"""

from __future__ import annotations

ALL = "200 200 200 200"
NO_FORM = "405 405 405 405"
WRITERS = "403 200 200 200"
MAINTAINERS = "403 403 200 200"
FORM_OF_WRITERS = "403 422 422 422"
DONE_BY_WRITERS = "403 302 302 302"
FORM_OF_MAINTAINERS = "403 403 422 422"
DONE_BY_MAINTAINERS = "403 403 302 302"
ADMINS = "403 403 403 200"
FORM_OF_ADMINS = "403 403 403 422"
DONE_BY_ADMINS = "403 403 403 302"

PAGES: dict[str, tuple[str, str]] = {
    "accounts:project_home": ("302 302 302 302", NO_FORM),
    "accounts:project": (ADMINS, FORM_OF_ADMINS),
    "accounts:members": (ALL, FORM_OF_ADMINS),
    "accounts:member": (ADMINS, FORM_OF_ADMINS),
    "accounts:member_remove": (ADMINS, DONE_BY_ADMINS),
    "accounts:groups": (ALL, FORM_OF_ADMINS),
    "accounts:group": (ADMINS, DONE_BY_ADMINS),
    "accounts:group_delete": (ADMINS, FORM_OF_ADMINS),
    "accounts:inbox": (ALL, "302 302 302 302"),
    "accounts:notification_choices": (ALL, "302 302 302 302"),
    "accounts:notification": (NO_FORM, "404 404 404 404"),
    "accounts:invitations": (ADMINS, FORM_OF_ADMINS),
    "accounts:invitation_revoke": (ADMINS, DONE_BY_ADMINS),
    "accounts:webhooks": (MAINTAINERS, "403 403 405 405"),
    "accounts:webhook_new": (MAINTAINERS, FORM_OF_MAINTAINERS),
    "accounts:webhook": (MAINTAINERS, "403 403 405 405"),
    "accounts:webhook_edit": (MAINTAINERS, FORM_OF_MAINTAINERS),
    "accounts:webhook_delete": (MAINTAINERS, FORM_OF_MAINTAINERS),
    "accounts:webhook_ping": ("403 403 405 405", DONE_BY_MAINTAINERS),
    "accounts:webhook_on": ("403 403 405 405", DONE_BY_MAINTAINERS),
    "accounts:webhook_off": (MAINTAINERS, DONE_BY_MAINTAINERS),
    "accounts:webhook_redeliver": ("403 403 405 405", DONE_BY_MAINTAINERS),
    "accounts:audit": (MAINTAINERS, "403 403 405 405"),
    "accounts:audit_export": (MAINTAINERS, "403 403 405 405"),
    "registry:search": (ALL, NO_FORM),
    "registry:version_list": (ALL, NO_FORM),
    "registry:model_list": (ALL, NO_FORM),
    "registry:model_register": (WRITERS, FORM_OF_WRITERS),
    "registry:model": (ALL, NO_FORM),
    "registry:model_edit": (WRITERS, DONE_BY_WRITERS),
    "registry:model_delete": (MAINTAINERS, FORM_OF_MAINTAINERS),
    "registry:aliases": (ALL, FORM_OF_WRITERS),
    "registry:alias_delete": (WRITERS, FORM_OF_WRITERS),
    "registry:compare": (ALL, NO_FORM),
    "registry:version": (ALL, FORM_OF_WRITERS),
    "registry:version_edit": (WRITERS, DONE_BY_WRITERS),
    "registry:annotation_remove": (WRITERS, DONE_BY_WRITERS),
    "registry:version_release": (MAINTAINERS, FORM_OF_MAINTAINERS),
    "registry:trash": (MAINTAINERS, DONE_BY_MAINTAINERS),
    "registry:protections": (ALL, FORM_OF_MAINTAINERS),
    "registry:protection_remove": (MAINTAINERS, FORM_OF_MAINTAINERS),
    "registry:version_delete": (MAINTAINERS, FORM_OF_MAINTAINERS),
    "registry:standing": (ALL, NO_FORM),
    "registry:version_download": (ALL, NO_FORM),
    "registry:version_preview": (ALL, NO_FORM),
    "registry:version_file": (ALL, NO_FORM),
    "registry:register_version": (WRITERS, FORM_OF_WRITERS),
    "approvals:list": (ALL, NO_FORM),
    "approvals:policies": (ALL, DONE_BY_MAINTAINERS),
    "approvals:policy_new": (MAINTAINERS, FORM_OF_MAINTAINERS),
    "approvals:policy": (MAINTAINERS, FORM_OF_MAINTAINERS),
    "approvals:policy_delete": (MAINTAINERS, DONE_BY_MAINTAINERS),
    "approvals:detail": (ALL, NO_FORM),
    "approvals:approve": (NO_FORM, DONE_BY_MAINTAINERS),
    "approvals:reject": (NO_FORM, "422 422 422 422"),
    "approvals:withdraw": (MAINTAINERS, DONE_BY_MAINTAINERS),
    "approvals:comment": (NO_FORM, "422 422 422 422"),
    "approvals:change_stage": (WRITERS, FORM_OF_WRITERS),
    "approvals:many": (WRITERS, "403 400 400 400"),
    "approvals:roll_back": (WRITERS, FORM_OF_WRITERS),
    "tracking:experiment_list": (ALL, NO_FORM),
    "tracking:experiment": (ALL, NO_FORM),
    "tracking:experiment_edit": (WRITERS, FORM_OF_WRITERS),
    "tracking:experiment_archive": (WRITERS, DONE_BY_WRITERS),
    "tracking:experiment_restore": (NO_FORM, DONE_BY_WRITERS),
    "tracking:run_edit": (WRITERS, DONE_BY_WRITERS),
    "tracking:run_kill": (WRITERS, FORM_OF_WRITERS),
    "tracking:run_delete": (WRITERS, FORM_OF_WRITERS),
    "tracking:compare": (ALL, NO_FORM),
    "tracking:run": (ALL, NO_FORM),
    "tracking:run_preview": (ALL, NO_FORM),
    "tracking:run_file": (ALL, NO_FORM),
    "scheduling:list": (ALL, NO_FORM),
    "scheduling:deleted": (ALL, NO_FORM),
    "scheduling:code": (ALL, NO_FORM),
    "scheduling:fetch_code": (WRITERS, FORM_OF_WRITERS),
    "scheduling:create": (WRITERS, FORM_OF_WRITERS),
    "scheduling:times": (ALL, NO_FORM),
    "scheduling:detail": (ALL, NO_FORM),
    "scheduling:edit": (WRITERS, FORM_OF_WRITERS),
    "scheduling:pause": (NO_FORM, DONE_BY_WRITERS),
    "scheduling:resume": (NO_FORM, DONE_BY_WRITERS),
    "scheduling:run": (NO_FORM, DONE_BY_WRITERS),
    "scheduling:delete": (WRITERS, FORM_OF_WRITERS),
    "scheduling:execution": (ALL, NO_FORM),
    "scheduling:stop": (WRITERS, DONE_BY_WRITERS),
    "deployments:list": (ALL, NO_FORM),
    "deployments:detail": (ALL, NO_FORM),
    "deployments:change": (WRITERS, FORM_OF_WRITERS),
    "deployments:try": (ALL, "422 422 422 422"),
    "deployments:logs": (ALL, NO_FORM),
    "deployments:undeploy": (WRITERS, FORM_OF_WRITERS),
    "deployments:deploy_again": (NO_FORM, DONE_BY_WRITERS),
    "deployments:promote": (WRITERS, DONE_BY_WRITERS),
    "deployments:abort": (WRITERS, DONE_BY_WRITERS),
    "deployments:rollback": (WRITERS, DONE_BY_WRITERS),
    "deployments:shadow": (NO_FORM, "403 400 400 400"),
    "deployments:unshadow": (NO_FORM, DONE_BY_WRITERS),
    "deployments:delete": (MAINTAINERS, FORM_OF_MAINTAINERS),
    "deployments:deploy": (WRITERS, FORM_OF_WRITERS),
    "lineage:graph": (ALL, NO_FORM),
    "lineage:impact": (ALL, FORM_OF_MAINTAINERS),
    "lineage:dataset_list": (ALL, NO_FORM),
    "lineage:dataset": (ALL, FORM_OF_MAINTAINERS),
    "lineage:reproduce": (ALL, DONE_BY_WRITERS),
}

TO_SIGN_IN = "302 302 302 302 302"

# Pages of no project: what GET, POST, PUT, PATCH and DELETE answer to nobody, and to somebody.
OUTSIDE: dict[str, tuple[str, str]] = {
    ":home": (TO_SIGN_IN, "302 405 405 405 405"),
    "accounts:invitation": ("404 404 404 404 404", "404 404 404 404 404"),
    "accounts:profile": (TO_SIGN_IN, "200 302 405 405 405"),
    "accounts:projects": (TO_SIGN_IN, "200 405 405 405 405"),
    "accounts:token_new": (TO_SIGN_IN, "200 422 405 405 405"),
    "accounts:token_revoke": (TO_SIGN_IN, "404 404 404 404 404"),
    "accounts:tokens": (TO_SIGN_IN, "200 405 405 405 405"),
}
