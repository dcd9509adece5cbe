"""`podstack models`."""

from __future__ import annotations

from registry.choices import Stage
from registry.models import ModelVersion, RegisteredModel
from tests.cli.conftest import CommandLine
from tests.factories import make_version


def test_a_model_is_registered_listed_shown_and_changed(podstack: CommandLine) -> None:
    podstack("models", "register", "iris", "--description", "Flowers", "--tag", "prod", "--tag", "small")
    make_version(podstack.person, "iris")
    assert podstack.table("models", "list")[:1] == [
        ["NAME", "VERSIONS", "LATEST", "PRODUCTION", "ALIASES", "TAGS", "UPDATED"]
    ]
    assert podstack.table("models", "list")[1][:6] == ["iris", "1", "1", "-", "-", "prod, small"]
    shown = podstack("models", "show", "iris").stdout
    assert "Description         Flowers\n" in shown
    podstack("models", "update", "iris", "--description", "Petals")
    assert RegisteredModel.objects.get().description == "Petals"
    assert RegisteredModel.objects.get().tags == ["prod", "small"]
    podstack("models", "update", "iris", "--no-tags")
    assert RegisteredModel.objects.get().tags == []
    assert podstack.doors() == {"cli"}


def test_json_has_exactly_the_fields_of_rest(podstack: CommandLine) -> None:
    make_version(podstack.person, "iris", loss=float("nan"))
    assert podstack.json("models", "show", "iris") == podstack.rest("/models/iris")
    assert podstack.json("models", "list") == podstack.rest("/models")["results"]
    assert podstack.json("models", "list", "--search", "nothing") == []


def test_a_list_is_filtered_ordered_and_limited(podstack: CommandLine) -> None:
    for name in ("a", "b", "c"):
        podstack("models", "register", name, "--tag", "even" if name == "b" else "odd")
    assert [row["name"] for row in podstack.json("models", "list", "--tag", "odd")] == ["c", "a"]
    names = [row["name"] for row in podstack.json("models", "list", "--order-by", "-name", "--limit", "2")]
    assert names == ["c", "b"]
    result = podstack("models", "list", "--search", "nothing")
    assert (result.stdout, result.stderr) == ("", "There are no models.\n")
    assert podstack("models", "list", "--search", "nothing", "--quiet").output == ""


def test_deleting_asks_and_says_what_goes(podstack: CommandLine) -> None:
    make_version(podstack.person, "iris")
    refused = podstack("models", "delete", "iris", typed="irsi\n", code=1)
    assert "This deletes iris: 1 version." in refused.stderr
    assert "Nothing was changed." in refused.stderr
    assert "give --confirm iris" in podstack("models", "delete", "iris", code=2).stderr
    assert RegisteredModel.objects.filter(deleted_at=None).exists()
    assert podstack("models", "delete", "iris", typed="iris\n").stderr.endswith("Deleted iris.\n")
    assert not RegisteredModel.objects.filter(deleted_at=None).exists()


def test_a_model_in_production_needs_its_name_said(podstack: CommandLine) -> None:
    version = make_version(podstack.person, "iris")
    ModelVersion.objects.filter(pk=version.pk).update(stage=Stage.PRODUCTION)
    refused = podstack("models", "delete", "iris", "--yes", code=1).stderr
    assert refused.startswith("Error: ")
    assert "\nHint: " in refused
    assert podstack("models", "delete", "iris", "--confirm", "iris", "--output", "json").stdout == "null\n"


def test_who_may_not_is_told(viewer: CommandLine, stranger: CommandLine) -> None:
    assert viewer("models", "register", "iris", code=3).stderr.startswith("Error: ")
    assert stranger("models", "list", code=4).stderr.startswith("Error: ")
    assert "Error: There is no model" in viewer("models", "show", "iris", code=4).stderr
    assert viewer("models", "list", "--stage", "Best", code=2).stdout == ""


def test_a_name_that_is_taken_is_refused(podstack: CommandLine) -> None:
    podstack("models", "register", "iris")
    assert "iris" in podstack("models", "register", "iris", code=1).stderr
    assert podstack("models", "register", "a/b", code=1).stdout == ""
