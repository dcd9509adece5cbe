"""The rule who may review an open request, as SQL: for what one person is asked, and for the votes that count.

`approvals.reviewers` says the same of all people of one request.
"""

from __future__ import annotations

# Of a request `q` with its policy `p`, its version `v` and the membership `m` of the person {user}.
MAY_REVIEW = """
    (p.own_review OR (
        q.requested_by_id <> {user} AND v.created_by_id <> {user}
        AND NOT EXISTS (
            SELECT 1 FROM registry_modelversion s JOIN tracking_run t ON t.id = s.source_run_id
            WHERE (s.id = v.id OR (v.source_run_id IS NULL AND s.manifest_id = v.manifest_id AND s.id < v.id))
              AND (s.created_by_id = {user} OR t.created_by_id = {user} OR EXISTS (
                  SELECT 1 FROM approvals_runauthor a WHERE a.run_id = t.id AND a.user_id = {user})))))
    AND (EXISTS (SELECT 1 FROM approvals_approvalpolicy_reviewers r
                 WHERE r.approvalpolicy_id = p.id AND r.user_id = {user})
         OR EXISTS (SELECT 1 FROM approvals_approvalpolicy_groups g
                    JOIN accounts_user_groups ug ON ug.group_id = g.group_id
                    WHERE g.approvalpolicy_id = p.id AND ug.user_id = {user})
         OR (m.role IN ('maintainer', 'admin')
             AND NOT EXISTS (SELECT 1 FROM approvals_approvalpolicy_reviewers r WHERE r.approvalpolicy_id = p.id)
             AND NOT EXISTS (SELECT 1 FROM approvals_approvalpolicy_groups g WHERE g.approvalpolicy_id = p.id)))
"""

# Open requests of a project that wait for the word of one person.
WAITING = f"""
    SELECT q.id FROM approvals_approvalrequest q
    JOIN approvals_approvalpolicy p ON p.id = q.policy_id
    JOIN registry_modelversion v ON v.id = q.version_id
    JOIN accounts_membership m ON m.project_id = q.project_id AND m.user_id = %(user)s
    WHERE q.project_id = %(project)s AND q.state = 'Pending' AND q.expires_at > now()
      AND {MAY_REVIEW.format(user="%(user)s")}
      AND NOT EXISTS (SELECT 1 FROM approvals_review w
                      WHERE w.request_id = q.id AND w.reviewer_id = %(user)s AND w.evidence = q.evidence)
"""  # noqa: S608  a constant of the code

# Of an open request of Django's: how many approved what is there now, and may still review.
COUNTED = f"""
    (SELECT count(DISTINCT w.reviewer_id) FROM approvals_review w
     JOIN approvals_approvalrequest q ON q.id = w.request_id
     JOIN approvals_approvalpolicy p ON p.id = q.policy_id
     JOIN registry_modelversion v ON v.id = q.version_id
     JOIN accounts_membership m ON m.project_id = q.project_id AND m.user_id = w.reviewer_id
     JOIN accounts_user u ON u.id = w.reviewer_id AND u.is_active
     WHERE w.request_id = approvals_approvalrequest.id AND q.state = 'Pending'
       AND w.vote = 'approve' AND w.evidence = q.evidence AND {MAY_REVIEW.format(user="w.reviewer_id")})
"""  # noqa: S608  a constant of the code
