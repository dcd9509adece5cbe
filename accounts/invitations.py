"""Verbs on invitations: a signed link by e-mail, good for a week, for one person, once."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.signing import BadSignature, Signer
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Door, Right, Role
from accounts.models import Invitation, Membership, Project, User
from accounts.permissions import Actor, may, require
from accounts.services import confirm_address
from common.checks import check_text, shorten
from common.errors import Conflict, Invalid, Missing
from common.jobs import enqueue

GOOD_FOR = timedelta(days=7)
# Two links to one invitation: only who could read the letter has shown that the address is theirs.
SHOWN = Signer(salt="accounts.invitation")
LETTER = Signer(salt="accounts.invitation.letter")


def invite(*, actor: Actor, project: Project, email: str, role: str) -> Invitation:
    """Sends a link by which one person joins the project within a week; an earlier one to the same address ends."""
    require(actor, project, Right.ADMIN)
    address = _checked_email(email)
    if role not in Role.values:
        raise Invalid.field("role", f"role is {shorten(role)}; it must be one of {', '.join(Role.values)}.")
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        if Membership.objects.filter(project=project, user__email__iexact=address).exists():
            raise Conflict(
                f"{address} is a member already.", "Change the role instead.", code="member_already"
            )
        now = timezone.now()
        invitations_of(project).filter(email__iexact=address).update(revoked_at=now)
        made = Invitation.objects.create(
            project=project, email=address, role=role, created_by=actor.user, expires_at=now + GOOD_FOR
        )
        enqueue("accounts.mail_invitation", invitation_id=made.pk)
        record(actor, "invite_member", "member", address, project=project, after={"role": role})
    return made


def revoke_invitation(*, actor: Actor, project: Project, invitation_id: int) -> None:
    """Its link is good for nothing from now on."""
    require(actor, project, Right.ADMIN)
    with transaction.atomic():
        row = invitations_of(project).select_for_update(of=("self",)).filter(pk=invitation_id).first()
        if row is None:
            raise Missing(f"There is no open invitation {invitation_id} in {project.slug}.")
        row.revoked_at = timezone.now()
        row.save(update_fields=["revoked_at"])
        record(actor, "revoke_invitation", "member", row.email, project=project)


def accept_invitation(*, user: User, link: str, door: Door = Door.PORTAL) -> Membership:
    """Makes the person a member; who is one keeps the role. Missing for a link that is not good (any more)."""
    with transaction.atomic():
        row = find_invitation(link, lock=True)
        membership, _ = Membership.objects.get_or_create(
            project=row.project, user=user, defaults={"role": row.role}
        )
        row.accepted_by, row.accepted_at = user, timezone.now()
        row.save(update_fields=["accepted_by", "accepted_at"])
        record(
            Actor(user=user, door=door),
            "accept_invitation",
            "member",
            user.username,
            project=row.project,
            after={"role": membership.role, "email": row.email},
        )
    return membership


def join(*, link: str, username: str, password: str) -> User:
    """A new person with this name and password, who is a member at once.

    By the letter's link they have the letter's address, too. Who was shown the other link may be anybody, the
    inviter for one, so they have none: its owner would come to an account whose password another knows.
    """
    username = User.normalize_username(check_text("username", username, max_length=150, required=True))
    try:
        UnicodeUsernameValidator()(username)
    except ValidationError as error:
        raise Invalid.field("username", f"username is {shorten(username)}. {error.message}") from error
    with transaction.atomic():
        row = find_invitation(link, lock=True)
        user = User(username=username, email=row.email if is_letter(link) else "")
        try:
            validate_password(password, user)
        except ValidationError as error:
            raise Invalid.field("password", " ".join(error.messages)) from error
        user.set_password(password)
        try:
            with transaction.atomic():
                user.save(force_insert=True)
        except IntegrityError as error:
            raise Invalid.field(
                "username", f"{shorten(username)} is taken.", "Choose another name, or sign in."
            ) from error
        confirm_address(user)
        accept_invitation(user=user, link=link)
    return user


def find_invitation(link: str, *, lock: bool = False) -> Invitation:
    """The open invitation that a link's last part stands for, or Missing; also when who sent it may not any more."""
    rows = Invitation.objects.select_related("project", "created_by")
    if lock:
        rows = rows.select_for_update(of=("self",))
    try:
        row = rows.filter(pk=int((LETTER if is_letter(link) else SHOWN).unsign(link))).first()
    except (BadSignature, ValueError):
        row = None
    if row is None or not row.is_open:
        raise Missing(
            "This invitation is used, withdrawn or older than a week.",
            "Ask who invited you for another one.",
            code="invitation_not_found",
        )
    if not _may_still_invite(row.created_by, row.project):
        raise Missing(
            f"{row.created_by.username}, who sent this invitation, is no admin of {row.project.name} any more.",
            "Ask one of its admins for another one.",
            code="invitation_not_found",
        )
    return row


def is_letter(link: str) -> bool:
    """Whether this is the last part of the link in the letter, which nobody else was shown."""
    try:
        LETTER.unsign(link)
    except BadSignature:
        return False
    return True


def _may_still_invite(inviter: User, project: Project) -> bool:
    operates = inviter.is_superuser and inviter.is_active
    actor = Actor(user=inviter, door=Door.PORTAL)
    return operates or (inviter.is_active and may(actor, project, Right.ADMIN)) or inviter.is_system


def invitations_of(project: Project) -> QuerySet[Invitation]:
    """Those that nobody has accepted or withdrawn."""
    rows = Invitation.objects.filter(project=project, accepted_at=None, revoked_at=None)
    return rows.select_related("created_by").order_by("-id")


def link_of(invitation: Invitation, *, signer: Signer = SHOWN) -> str:
    """The address that lets somebody join; signed by LETTER, the one in the letter."""
    path = reverse("accounts:invitation", args=[signer.sign(str(invitation.pk))])
    return settings.PUBLIC_URL.rstrip("/") + path


def mail_invitation(invitation_id: int) -> None:
    """The letter, once; sent again by a worker that died in between, it has the same Message-ID."""
    row = Invitation.objects.select_related("project", "created_by").filter(pk=invitation_id).first()
    if row is None or row.mailed_at is not None or not row.is_open:
        return
    EmailMessage(
        subject=f"{row.created_by.username} invites you to {' '.join(row.project.name.split())}",
        body=f"Join {row.project.name} in the Model Registry as {row.role}:\n\n{link_of(row, signer=LETTER)}\n\n"
        f"The link is good for you alone, until {row.expires_at:%Y-%m-%d %H:%M} UTC.\n",
        to=[row.email],
        headers={"Message-ID": f"<invitation-{row.pk}@model-registry>", "Auto-Submitted": "auto-generated"},
    ).send()
    Invitation.objects.filter(pk=row.pk).update(mailed_at=timezone.now())


def _checked_email(value: object) -> str:
    text = check_text("email", value, max_length=254, required=True).strip()
    try:
        validate_email(text)
    except ValidationError as error:
        raise Invalid.field("email", f"email is {shorten(text)}; it must be an address.") from error
    return text
