"""The one reader of YAML: data only, bounded, and without what two readers would understand in two ways.

Numbers are those of YAML 1.2; a date stays the text that it is. Snakemake and many other programs read YAML 1.1, where `010` is 8, `1:30`
is 90 and `1_000` is 1000: such words are refused rather than read in one of the two ways.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, ScalarNode

from brainldm.core.errors import ConfigError, DataError
from brainldm.core.printable import printable
from brainldm.core.regular_files import read_regular

MOST_BYTES = 2**20  # the longest configuration of ours has 9 kB
MOST_EVENTS = 50_000  # values, keys, beginnings and ends
DEEPEST = 20  # values within values; our configurations have 4
LONGEST_NUMBER = 40  # characters
TEXT_TAG = "tag:yaml.org,2002:str"
NUMBER_TAGS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # of the C library, where PyYAML was built with it


class _Words(yaml.resolver.BaseResolver):
    """What a plain word of YAML 1.2 means: its core schema without .inf and .nan."""


class _Loader(BASE):  # type: ignore[misc]
    """PyYAML's safe loader with the words of YAML 1.2, which refuses a key that stands twice."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node) if isinstance(key_node, ScalarNode) else None
            if key is None or key == "<<":
                raise _fault(key_node.start_mark.line, "a key must be a word or a number")
            if key in found:
                raise _fault(key_node.start_mark.line, f"the key {printable(key)} stands there twice")
            found[key] = self.construct_object(value_node, deep=deep)
        return found


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)", "-+.0123456789"),
):
    _Words.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z", re.ASCII), list(_first))
_Loader.yaml_implicit_resolvers = _Words.yaml_implicit_resolvers
_OLDER, _NEWER = yaml.resolver.Resolver(), _Words()


def read_yaml(path: Path) -> object:
    """Return what a YAML file holds: dictionaries, lists, texts, numbers, booleans and None.

    ConfigError, naming file and line, for a file that is missing, no regular file, larger than MOST_BYTES or not YAML, and for one with
    aliases, tags, keys that stand twice, several documents, deep nesting, or a number that YAML 1.1 reads otherwise.
    """
    try:
        content = read_regular(path, MOST_BYTES)
    except DataError as error:
        raise ConfigError(str(error)) from None
    try:
        return parse_yaml(content.decode("utf-8-sig"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = printable(" ".join(str(error).split()), 400)
        raise ConfigError(f"{path}: expected YAML, found text that does not parse ({reason})") from None


def parse_yaml(text: str) -> object:
    """Return what a YAML text holds; yaml.YAMLError, with the line, for what `read_yaml` refuses."""
    depth = 0
    documents = 0
    for number, event in enumerate(yaml.parse(text, Loader=BASE)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        if number > MOST_EVENTS or depth > DEEPEST:
            raise _fault(event.start_mark.line, f"more than {MOST_EVENTS} values, or values nested more than {DEEPEST} deep")
        if isinstance(event, yaml.AliasEvent):
            raise _fault(event.start_mark.line, "an alias (*name); write the value out")
        if documents > 1:
            raise _fault(event.start_mark.line, "a second document")
        _check_tag(event)
        if isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
            _check_number(event)
    return yaml.load(text, Loader=_Loader)


def _check_tag(event: yaml.Event) -> None:
    tag = getattr(event, "tag", None)
    if tag is not None and tag not in (TEXT_TAG, "!"):
        raise _fault(event.start_mark.line, f"the tag {printable(tag)}; only data without tags are read")


def _check_number(event: yaml.ScalarEvent) -> None:
    """Refuse a plain word that YAML 1.1 takes for another number than YAML 1.2, or for one when the other does not."""
    older = _OLDER.resolve(ScalarNode, event.value, (True, False))
    newer = _NEWER.resolve(ScalarNode, event.value, (True, False))
    if older in NUMBER_TAGS and newer != older:
        raise _fault(event.start_mark.line, f"{printable(event.value)} means different numbers to different programs; write it in full")
    if newer in NUMBER_TAGS and len(event.value) > LONGEST_NUMBER:
        raise _fault(event.start_mark.line, f"a number of more than {LONGEST_NUMBER} characters")


def _fault(line: int, reason: str) -> yaml.YAMLError:
    return yaml.YAMLError(f"line {line + 1}: {reason}")
