"""**Groups** of a project's members, whom policies and protections may name."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib import messages
from django.urls import reverse

from accounts import groups
from accounts.choices import Right
from accounts.forms import GroupForm, GroupMembersForm
from accounts.models import ProjectGroup
from accounts.portal import FormPage, TypedPage
from common.errors import Invalid


class Groups(FormPage):
    """**Groups**: who is in which; admins make them."""

    form_class = GroupForm
    template = "accounts/groups.html"
    right = Right.READ
    post_right = Right.ADMIN

    def extra(self) -> dict[str, Any]:
        return {"page": self.page_of(groups.groups_of(self.project))}

    def perform(self, data: dict[str, Any]) -> str:
        name = data["name"]
        if any(name == row.name for row in groups.groups_of(self.project)):
            raise Invalid.field("name", f"There is a group {name} already: change it in the list.")
        groups.set_group(actor=self.actor, project=self.project, **data)
        messages.success(self.request, f"The group {name} is made.")
        return self.request.path


class OfGroup(FormPage):
    """A page of one group."""

    right = Right.ADMIN

    @cached_property
    def group(self) -> ProjectGroup:
        return groups.find_group(self.project, self.kwargs["name"])

    def enter(self) -> None:
        super().enter()
        assert self.group

    def extra(self) -> dict[str, Any]:
        return {"group": self.group}

    def groups_url(self) -> str:
        return reverse("accounts:groups", args=[self.project.slug])


class ChangeGroup(OfGroup):
    form_class = GroupMembersForm
    template = "accounts/group.html"
    success_message = "The group is saved."

    def initial(self) -> dict[str, Any]:
        return {"members": [person.username for person in self.group.people]}

    def perform(self, data: dict[str, Any]) -> str:
        groups.set_group(actor=self.actor, project=self.project, name=self.group.name, **data)
        return self.groups_url()


class DeleteGroup(TypedPage, OfGroup):
    template = "accounts/group_delete.html"

    @property
    def confirm_text(self) -> str:
        return self.group.name

    def perform(self, data: dict[str, Any]) -> str:
        name = self.group.name
        groups.delete_group(actor=self.actor, project=self.project, name=name)
        messages.success(self.request, f"The group {name} is deleted.")
        return self.groups_url()
