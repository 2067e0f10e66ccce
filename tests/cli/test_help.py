"""What a newcomer reads first."""

import re

import pytest

from tests.cli.runner import VERBS, scenariogen


def test_the_verbs_stand_in_data_order():
    said = scenariogen("--help").stdout
    listed = re.findall(r"^  (\w+) {2,}\S", said.split("Commands:")[1], flags=re.MULTILINE)
    assert tuple(listed) == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_each_help_has_an_example_of_its_own_and_explains_every_option(verb: str):
    result = scenariogen(verb, "--help")
    assert result.exit_code == 0
    assert re.search(rf"Example:\n    scenariogen {verb}\b", result.stdout)
    for line in result.stdout.split("Options:")[1].splitlines():
        if option := re.match(r"^  (-\S.*)$", line):
            assert re.search(r"\S {2,}\S", option[1]) or "  " not in option[1], f"no explanation: {option[1]}"


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_speaks_json(verb: str):
    assert "--json" in scenariogen(verb, "--help").stdout


@pytest.mark.parametrize(
    "verb",
    sorted(set(VERBS) - {"networks", "inspect", "convert", "export", "sample", "attach", "query", "report", "demo"}),
)
def test_a_network_is_named_or_given_by_file(verb: str):
    said = scenariogen(verb, "--help").stdout
    assert "--network" in said
    assert "--sumocfg" in said


def test_the_example_of_each_verb_names_options_that_exist():
    for verb in VERBS:
        said = scenariogen(verb, "--help").stdout
        example = said.split("Example:")[1].split("\n\n")[0]
        for option in re.findall(r"\s(--?[a-z][a-z-]*)", example):
            assert option in said.split("Options:")[1], f"{verb}: {option}"


def test_the_version_is_printed():
    import scenariogen as package

    assert scenariogen("--version").stdout.strip() == f"scenariogen {package.__version__}"
