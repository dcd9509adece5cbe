"""Calls on who may do what, and who did: members, API tokens, the audit trail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from podstack.calls import Calls, given, moment
from podstack.models import AuditEntry, Group, Invitation, Member, Token
from podstack.values import texts


class PeopleCalls(Calls):
    """Members are changed by admins; the trail is read by maintainers; tokens are one's own."""

    def list_members(self) -> Iterator[Member]:
        """Who is in the project, the last added first."""
        return self.listed(Member.from_json, ("members",))

    def set_member(self, username: str, role: str) -> Member:
        """Adds a member, or gives one another role: viewer, contributor, maintainer or admin."""
        answer = self.http.call("PUT", self.path("members", username), json={"role": role})
        return Member.from_json(answer)

    def remove_member(self, username: str) -> None:
        """Takes a member out. The last admin stays: ConflictError."""
        self.http.call("DELETE", self.path("members", username))

    def invite_member(self, email: str, role: str = "contributor") -> Invitation:
        """Sends a link by which one person joins within a week; for admins."""
        body = {"email": email, "role": role}
        return Invitation.from_json(self.http.call("POST", self.path("invitations"), json=body))

    def list_invitations(self) -> Iterator[Invitation]:
        """Who was invited and has not joined yet; for admins."""
        return self.listed(Invitation.from_json, ("invitations",))

    def revoke_invitation(self, invitation_id: int) -> None:
        """Its link is good for nothing from now on."""
        self.http.call("DELETE", self.path("invitations", invitation_id))

    def list_groups(self) -> Iterator[Group]:
        """The project's groups of members, by name."""
        return self.listed(Group.from_json, ("groups",))

    def set_group(self, name: str, members: Sequence[str]) -> Group:
        """Makes a group of members, or says anew who is in it; for admins. Policies and protections may name it."""
        body = {"members": texts("members", members)}
        return Group.from_json(self.http.call("PUT", self.path("groups", name), json=body))

    def delete_group(self, name: str) -> None:
        """Deletes a group; ConflictError while a policy or a protection names it."""
        self.http.call("DELETE", self.path("groups", name))

    def list_tokens(self) -> Iterator[Token]:
        """Your own tokens that are bound to this project, the newest first, revoked ones too."""
        return self.listed(Token.from_json, ("tokens",))

    def create_token(
        self, name: str, scopes: Sequence[str] = ("write",), expires_in_days: int | None = None
    ) -> Token:
        """A new token for this project; its text is in `token`, this once.

        scopes: read, write, predict, admin. It gets no more than the token that asks, and that one needs admin.
        """
        body = {"name": name, "scopes": texts("scopes", scopes), **given(expires_in_days=expires_in_days)}
        return Token.from_json(self.http.call("POST", self.path("tokens"), json=body))

    def revoke_token(self, prefix: str) -> None:
        """Ends a token at once; `prefix` is what stands after `podstack_`."""
        self.http.call("DELETE", self.path("tokens", prefix))

    def list_audit(
        self,
        actor: str | None = None,
        verb: str | None = None,
        object_type: str | None = None,
        object_id: str | None = None,
        door: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
    ) -> Iterator[AuditEntry]:
        """Who did what in the project, the newest first; `since` is included, `until` is not."""
        asked = given(actor=actor, verb=verb, object_type=object_type, object_id=object_id, door=door)
        times = given(since=moment(since), until=moment(until))
        return self.listed(AuditEntry.from_json, ("audit",), **asked, **times)
