"""**Settings** of a project: its name, its members and roles, and its audit trail."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.contrib import messages
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from accounts import groups, services, trail
from accounts.api.views import trail_file
from accounts.choices import Door, Right
from accounts.filters import AuditFilter
from accounts.forms import ROLES, MemberForm, ProjectForm, RoleForm
from accounts.models import AuditEntry, Membership
from accounts.portal import FormPage, ProjectPage, SureForm
from common.checks import check_whole
from common.errors import Invalid, Missing
from common.heads import Sorting

MEMBER_COLUMNS = {
    "user": ("User", "user__username"),
    "role": ("Role", "role"),
    "created_at": ("Member since", "created_at"),
}
ENTRIES = 50
TRAIL_FILTERS = ("actor", "verb", "object_type", "object_id", "door", "since", "until")


class ProjectHome(ProjectPage):
    """The project's own address leads to its models."""

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        return redirect("registry:model_list", project=self.project.slug)


class ProjectSettings(FormPage):
    form_class = ProjectForm
    template = "accounts/project_settings.html"
    success_message = "The change is saved."
    right = Right.ADMIN

    def initial(self) -> dict[str, Any]:
        return {"name": self.project.name, "description": self.project.description}

    def perform(self, data: dict[str, Any]) -> str:
        services.update_project(actor=self.actor, project=self.project, **data)
        return self.request.path


class Members(FormPage):
    """**Members**: who is in, with which role; admins add others."""

    form_class = MemberForm
    template = "accounts/members.html"
    right = Right.READ
    post_right = Right.ADMIN

    def extra(self) -> dict[str, Any]:
        rows = Membership.objects.filter(project=self.project).select_related("user")
        query = self.request.GET.get("q", "").replace("\0", "").strip()
        if query:
            rows = rows.filter(user__username__icontains=query)
        rows = rows.prefetch_related(Prefetch("user__groups", groups.groups_seen_in(self.project)))
        sorting = Sorting.of(self.request, MEMBER_COLUMNS, "user")
        page = self.page_of(rows.order_by(*sorting.order))
        return {"page": page, "q": query, "roles": ROLES, "sorting": sorting}

    def perform(self, data: dict[str, Any]) -> str:
        known = Membership.objects.filter(project=self.project, user__username=data["username"])
        if known.exists():
            sentence = f"{data['username']} is a member already: change the role in the list."
            raise Invalid.field("username", sentence)
        try:
            services.set_member(actor=self.actor, project=self.project, **data)
        except Missing as error:
            raise Invalid.field("username", f"{error.message} {error.hint}".strip()) from error
        messages.success(self.request, f"{data['username']} is a member now.")
        return self.request.path


class OfMember(FormPage):
    """A page of one member."""

    right = Right.ADMIN

    @cached_property
    def membership(self) -> Membership:
        rows = Membership.objects.filter(project=self.project, user__username=self.kwargs["username"])
        found = rows.select_related("user").first()
        if found is None:
            raise Missing(f"{self.kwargs['username'][:150]} is no member of {self.project.name}.")
        return found

    def enter(self) -> None:
        super().enter()
        assert self.membership

    def extra(self) -> dict[str, Any]:
        return {"member": self.membership}

    def members_url(self) -> str:
        return reverse("accounts:members", args=[self.project.slug])


class ChangeRole(OfMember):
    form_class = RoleForm
    template = "accounts/member_role.html"

    def initial(self) -> dict[str, Any]:
        return {"role": self.membership.role}

    def perform(self, data: dict[str, Any]) -> str:
        username = self.membership.user.username
        services.set_member(actor=self.actor, project=self.project, username=username, **data)
        messages.success(self.request, f"{username} is {data['role']} now.")
        return self.members_url()


class RemoveMember(OfMember):
    form_class = SureForm
    template = "accounts/member_remove.html"

    def perform(self, data: dict[str, Any]) -> str:
        user = self.membership.user
        services.remove_member(actor=self.actor, project=self.project, username=user.username)
        if user == self.person:
            messages.success(self.request, f"You left {self.project.name}.")
            return reverse("home")
        messages.success(self.request, f"{user.username} is no member any more.")
        return self.members_url()


@dataclass(frozen=True)
class ShownEntry:
    """An entry with what it changed: (name, before, after), each value as text, None where there was none."""

    entry: AuditEntry
    changes: list[tuple[str, str | None, str | None]]


class AuditTrail(ProjectPage):
    """**Audit trail**: newest first, filtered by the query string; `?before=` goes on where a page ended."""

    right = Right.MAINTAIN

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        found, rows = self.filtered()
        before = _number(request.GET.get("before"))
        entries = trail.older_than(rows, before, ENTRIES + 1)
        return self.show(
            "accounts/audit.html",
            entries=[ShownEntry(each, _changes(each)) for each in entries[:ENTRIES]],
            older=entries[ENTRIES - 1].pk if len(entries) > ENTRIES else None,
            newest="before" not in request.GET,
            asked={name: request.GET.get(name, "") for name in TRAIL_FILTERS},
            errors=[f"{name}: {text}" for name, texts in found.errors.items() for text in texts],
            is_filtered=any(request.GET.get(name) for name in TRAIL_FILTERS),
            doors=Door.choices,
        )

    def filtered(self) -> tuple[AuditFilter, QuerySet[AuditEntry]]:
        """What the filter leaves; nothing where it is wrong, which its errors then say."""
        rows = trail.trail_of(self.project)
        found = AuditFilter(self.request.GET, queryset=rows)
        return found, (found.qs if found.is_valid() else rows.none())


class ExportAudit(AuditTrail):
    """The same entries as a file, all of them."""

    shows = False

    def get(self, request: HttpRequest, project: str) -> HttpResponseBase:  # type: ignore[override]
        kind = trail.check_format(request.GET.get("format"))
        found, rows = self.filtered()
        if found.errors:
            name, sentences = next(iter(found.errors.items()))
            raise Invalid.field(name, f"{name}: {sentences[0]}")
        return trail_file(rows, kind, self.project.slug)


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Invalid.field("before", "before must be the number of an entry.")
    return check_whole("before", int(text), low=0, high=10**18)


def _changes(entry: AuditEntry) -> list[tuple[str, str | None, str | None]]:
    before, after = entry.before or {}, entry.after or {}
    names = dict.fromkeys([*before, *after])
    pairs = [(name, _text(before, name), _text(after, name)) for name in names]
    return [each for each in pairs if each[1] != each[2]]


def _text(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
