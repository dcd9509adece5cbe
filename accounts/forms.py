"""Forms of the settings pages: they read what was typed; the verbs check it."""

from __future__ import annotations

from typing import Any

from django import forms

from accounts.choices import HookFormat, Role, Scope
from accounts.models import Project

SCOPES = {
    Scope.READ: "Read: look at everything, download files",
    Scope.WRITE: "Write: what your role lets you change, reading and predictions included",
    Scope.PREDICT: "Predict: ask endpoints for predictions, nothing else",
    Scope.ADMIN: "Admin: everything you may do, members and tokens included",
}
ROLES = {
    Role.VIEWER: "Viewer: looks and downloads",
    Role.CONTRIBUTOR: "Contributor: also logs runs, registers, promotes and deploys",
    Role.MAINTAINER: "Maintainer: also deletes, sets policies, protects aliases, reads the audit trail",
    Role.ADMIN: "Admin: also manages members",
}
EXPIRIES = {"30": "In 30 days", "90": "In 90 days", "365": "In a year", "": "Never"}


class ProfileForm(forms.Form):
    first_name = forms.CharField(
        label="First name",
        max_length=150,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "given-name"}),
    )
    last_name = forms.CharField(
        label="Last name",
        max_length=150,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "family-name"}),
    )
    email = forms.EmailField(
        label="E-mail",
        max_length=254,
        required=False,
        help_text="You can sign in with it. Notices go there.",
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )
    password = forms.CharField(
        label="Current password",
        max_length=4096,
        required=False,
        strip=False,
        help_text="Only to change the e-mail address.",
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )


class TokenForm(forms.Form):
    name = forms.CharField(
        label="Name", max_length=120, help_text="Where it is used, for example laptop or nightly-training."
    )
    scopes = forms.MultipleChoiceField(
        label="Scopes", choices=list(SCOPES.items()), widget=forms.CheckboxSelectMultiple
    )
    project = forms.ChoiceField(
        label="Project", required=False, help_text="A token for one project can do less harm when it leaks."
    )
    expires_in_days = forms.ChoiceField(label="Expires", required=False, choices=list(EXPIRIES.items()))

    def __init__(self, *args: Any, projects: list[Project], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [("", "All my projects"), *((each.slug, each.name) for each in projects)]
        self.fields["project"].choices = choices  # type: ignore[attr-defined]

    def clean_expires_in_days(self) -> int | None:
        days = self.cleaned_data["expires_in_days"]
        return int(days) if days else None


class RoleForm(forms.Form):
    role = forms.ChoiceField(label="Role", choices=list(ROLES.items()), widget=forms.RadioSelect)


class MemberForm(forms.Form):
    username = forms.CharField(
        label="User name", max_length=150, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    role = forms.ChoiceField(label="Role", choices=Role.choices, initial=Role.CONTRIBUTOR)


class ProjectForm(forms.Form):
    name = forms.CharField(label="Name", max_length=120)
    description = forms.CharField(
        label="Description", required=False, max_length=20_000, widget=forms.Textarea(attrs={"rows": 4})
    )


class UserNames(forms.CharField):
    """Names of users with commas between them, as a list."""

    def clean(self, value: Any) -> Any:
        return [name.strip() for name in super().clean(value).split(",") if name.strip()]

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else ", ".join(value or ())


class GroupMembersForm(forms.Form):
    members = UserNames(
        label="Members",
        required=False,
        max_length=20_000,
        help_text="User names of members of the project, separated by commas.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class GroupForm(GroupMembersForm):
    name = forms.CharField(label="Name", max_length=80, help_text="Such as risk-reviewers.")
    field_order = ("name", "members")


class EventNames(forms.CharField):
    """Names of events with commas or spaces between them, as a list."""

    def clean(self, value: Any) -> Any:
        return super().clean(value).replace(",", " ").split()

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else ", ".join(value or ())


class WebhookForm(forms.Form):
    name = forms.CharField(label="Name", max_length=120)
    url = forms.CharField(
        label="Address", max_length=2000, widget=forms.TextInput(attrs={"placeholder": "https://"})
    )
    format = forms.ChoiceField(label="Format", choices=HookFormat.choices, initial=HookFormat.STANDARD)
    events = EventNames(
        label="Events",
        required=False,
        max_length=2000,
        help_text="Such as version.transition_stage, approval.*; empty for all that concern models, approvals, "
        "schedules and endpoints.",
    )


class InvitationForm(forms.Form):
    email = forms.CharField(label="E-mail", max_length=254, widget=forms.EmailInput())
    role = forms.ChoiceField(label="Role", choices=Role.choices, initial=Role.CONTRIBUTOR)


class JoinForm(forms.Form):
    username = forms.CharField(
        label="User name", max_length=150, widget=forms.TextInput(attrs={"autocomplete": "username"})
    )
    password = forms.CharField(
        label="Password",
        max_length=1000,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
