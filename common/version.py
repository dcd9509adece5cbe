"""The platform's version, as /me and the portal show it."""

VERSION = "0.1.0"
