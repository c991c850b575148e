"""The values of both charts: users read what each is, and are told which one cannot be used, and why."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from helm import CHARTS, DEVELOPMENT, refused, render

from repoloom.errors import InputError
from repoloom.stages.crawl.policy import Policy

SERVES = {"model": {"uri": "s3://bucket/m/model"}, "allowInsecure": True}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"x": 1}, "at '': additional properties 'x' not allowed"),
        ({"store": {"development": {"x": 1}}}, "at '/store/development': additional properties 'x' not allowed"),
        ({"services": {"x": {}}}, "at '/services': additional properties 'x' not allowed"),
        ({"services": {"filter": {"x": 1}}}, "at '/services/filter': additional properties 'x' not allowed"),
        ({"services": {"filter": {"crawlAllow": ""}}}, "at '/services/filter': additional properties 'crawlAllow'"),
        ({"services": {"crawler": {"crawlAllow": "all"}}}, "at '/services/crawler/crawlAllow': 'all' does not match"),
        ({"workers": {"crawlAllow": "localfiles"}}, "at '/workers/crawlAllow': 'localfiles' does not match pattern"),
        ({"workers": {"cpu": {"autoscaling": {"x": 1}}}}, "at '/workers/cpu/autoscaling': additional properties 'x'"),
        ({"images": {"repoloom": "repoloom"}}, "at '/images/repoloom': 'repoloom' does not match pattern"),
        ({"store": {"address": "gs://a/b"}}, "at '/store/address': 'gs://a/b' does not match pattern '^s3://"),
        ({"redis": {"caSecretName": "ca"}}, "redis.caSecretName is given and redis.tls is false"),
        ({"redis": {"port": 0}}, "at '/redis/port': minimum: got 0, want 1"),
        ({"services": {"filter": {"replicas": "two"}}}, "at '/services/filter/replicas': got string, want integer"),
        ({"workers": {"cpu": {"resources": {"limits": {"memory": "4X"}}}}}, "memory': '4X' does not match pattern"),
        ({"operator": {"training": {"job": "Job"}}}, "job': value must be one of 'PyTorchJob', 'TrainJob'"),
        ({"operator": {"namespaces": ["A"]}}, "at '/operator/namespaces/0': 'A' does not match pattern"),
    ],
)
def test_repoloom_says_what_is_wrong_and_where(wrong: Mapping[str, Any], said: str) -> None:
    assert said in refused("repoloom", DEVELOPMENT, **wrong)


CORP = {"crawlAllow": "local-files, host:git.corp.example"}


@pytest.mark.parametrize(
    "allowed",
    [
        " ssh , git-protocol,, named-hosts",
        "local-files,host:Git.Corp.Example.,host:a_b",
        "net:10.0.0.0/8,net:10.0.0.0/255.0.0.0,net:fd00::/8,net:::ffff:10.1.2.3",
    ],
)
def test_a_crawl_may_be_allowed_all_that_it_reads(allowed: str) -> None:
    assert Policy.parse(allowed) != Policy()
    reached = {"crawl": [{"ports": [{"port": 22}]}]}
    assert render("repoloom", DEVELOPMENT, workers={"crawlAllow": allowed}, networkPolicies=reached)
    assert render("repoloom", DEVELOPMENT, workers={"crawlAllow": allowed}, networkPolicies={"enabled": False})


@pytest.mark.parametrize(
    ("who", "where"), [({"services": {"crawler": CORP}}, "services.crawler"), ({"workers": CORP}, "workers")]
)
def test_a_crawl_is_allowed_nothing_that_the_network_policies_keep_off(who: dict[str, Any], where: str) -> None:
    said = (
        f"{where}.crawlAllow allows host:git.corp.example, and the network policies let a crawl reach ports 80 and 443"
    )
    assert said in refused("repoloom", DEVELOPMENT, **who)


@pytest.mark.parametrize("word", ["everything", "local_files", "SSH", "ssh named-hosts", "host:", "host:-a", "net:x"])
def test_a_crawl_may_be_allowed_nothing_that_it_does_not_know(word: str) -> None:
    with pytest.raises(InputError):
        Policy.parse(f"ssh,{word}")
    assert "at '/workers/crawlAllow': " in refused("repoloom", DEVELOPMENT, workers={"crawlAllow": f"ssh,{word}"})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"modle": {}}, "at '': additional properties 'modle' not allowed"),
        ({"model": {"url": "s3://b/m"}}, "at '/model': additional properties 'url' not allowed"),
        ({"model": {"uri": "http://b/m"}}, "at '/model/uri': 'http://b/m' does not match pattern '^(s3://"),
        ({"model": {"uri": "s3://b/m", "sha256": "abc"}}, "at '/model/sha256': 'abc' does not match pattern"),
        ({"model": {"uri": ""}}, "model.uri is needed: the address of an exported model"),
        ({"serving": {"slots": 0}}, "at '/serving/slots': minimum: got 0, want 1"),
        ({"replicas": "two"}, "at '/replicas': got string, want integer"),
        ({"canary": {"enabled": True}}, "canary.model.uri is needed"),
        ({"httpRoute": {"enabled": True}, "networkPolicy": {"enabled": False}}, "httpRoute.parentRefs is needed"),
        ({"tls": {"clientCertificates": True}}, "tls.clientCertificates needs tls.secretName, and callers.secretName"),
    ],
)
def test_inference_says_what_is_wrong_and_where(wrong: Mapping[str, Any], said: str) -> None:
    assert said in refused("inference", **{**SERVES, **wrong})


@pytest.mark.parametrize("chart", ["repoloom", "inference"])
def test_the_values_file_has_every_key_of_the_schema_and_tells_what_it_is(chart: str) -> None:
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text())
    text = (CHARTS / chart / "values.yaml").read_text()
    assert list(untold(yaml.compose(text), schema, text.splitlines(), schema.get("$defs", {}))) == []


def untold(
    group: yaml.MappingNode, schema: Mapping[str, Any], lines: list[str], defs: Mapping[str, Any], path: str = ""
) -> Iterator[str]:
    """What is not there, or has no comment at its line or above; the first of a group may be told with the group."""
    assert schema["additionalProperties"] is False, path
    there = {key.value: (key.start_mark.line, value) for key, value in group.value}
    yield from (f"{path}{name} is not there" for name in schema["properties"].keys() - there.keys() - {"global"})
    for name, (line, value) in there.items():
        own = schema["properties"][name]
        own = defs[own["$ref"].rpartition("/")[2]] if "$ref" in own else own
        with_group = line == group.value[0][0].start_mark.line and path
        as_defaults = "defaults" in there and name != "defaults"
        of_kubernetes = name == "resources"
        if isinstance(value, yaml.MappingNode) and value.value and not (as_defaults or of_kubernetes):
            yield from untold(value, own, lines, defs, f"{path}{name}.")
        elif not (told(lines, line) or (with_group and told(lines, line - 1))):
            yield f"{path}{name} is not told"


def told(lines: list[str], line: int) -> bool:
    return " # " in lines[line] or lines[line - 1].lstrip().startswith("# ")
