"""Users, tokens, members and audit entries as JSON."""

from __future__ import annotations

from rest_framework import serializers

from accounts.choices import Role, Scope


class UserSerializer(serializers.Serializer):
    username = serializers.CharField()
    email = serializers.CharField()


class TokenSerializer(serializers.Serializer):
    """A token without its secret."""

    name = serializers.CharField()
    prefix = serializers.CharField()
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.choices))
    project = serializers.CharField(source="project.slug", default=None, allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)


class NewTokenSerializer(TokenSerializer):
    """A token just made; `token` is shown this once."""

    token = serializers.CharField()


class TokenInput(serializers.Serializer):
    name = serializers.CharField(max_length=120)
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.choices), allow_empty=False)
    expires_in_days = serializers.IntegerField(min_value=1, max_value=3650, allow_null=True, default=None)


class MembershipSerializer(serializers.Serializer):
    slug = serializers.CharField(source="project.slug")
    name = serializers.CharField(source="project.name")
    role = serializers.ChoiceField(choices=Role.choices)


class ServerSerializer(serializers.Serializer):
    version = serializers.CharField()


class MeSerializer(serializers.Serializer):
    """Who a token is, and where it may act."""

    user = UserSerializer()
    token = TokenSerializer(allow_null=True)
    projects = MembershipSerializer(many=True)
    server = ServerSerializer()


class MemberSerializer(serializers.Serializer):
    username = serializers.CharField(source="user.username")
    role = serializers.ChoiceField(choices=Role.choices)
    created_at = serializers.DateTimeField()


class MemberInput(serializers.Serializer):
    role = serializers.ChoiceField(choices=Role.choices)


class AuditSerializer(serializers.Serializer):
    """One line of the audit trail."""

    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    actor = serializers.CharField(source="actor.username", default=None, allow_null=True)
    token_prefix = serializers.CharField()
    door = serializers.CharField()
    verb = serializers.CharField()
    object_type = serializers.CharField()
    object_id = serializers.CharField()
    before = serializers.JSONField(allow_null=True)
    after = serializers.JSONField(allow_null=True)
    request_id = serializers.CharField()
