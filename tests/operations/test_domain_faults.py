"""A push that fails halfway while a domain is given, changed or taken away: see `faults`.

Callers of the API's own URL are what the stories watch; that no caller of the domain is lost on the way, also not by a
run that dies, is what `reachable` watches.
"""

import itertools
import re
from dataclasses import replace

import pytest

from tests.operations.faults import Case, Fault, story, undisturbed
from tests.operations.stand import REGION, Death
from thampi.config import Api, Domain

CERTIFICATE = f"arn:aws:acm:{REGION}:123456789012:certificate/1"
OTHER = f"arn:aws:acm:{REGION}:123456789012:certificate/2"
IRIS = Domain(name="models.example.com", certificate_arn=CERTIFICATE, path="iris")


def of(domain, kind="http"):
    return {"api": Api(type=kind, domain=domain)}


# A change of the address also takes the note away, and brings it back, that all around the function is as wanted.
CASES = {
    "first push, with a domain": Case("lambda.AddPermission", None, "model-2", of(IRIS)),
    "a domain": Case("lambda.UpdateAlias", "model-2", "model-3", of(IRIS), of(None), flips=3),
    "another path": Case("lambda.UpdateAlias", "model-2", "model-3", of(replace(IRIS, path="v2")), of(IRIS), flips=3),
    "another name": Case(
        "lambda.UpdateAlias", "model-2", "model-3", of(replace(IRIS, name="ml.example.org")), of(IRIS), flips=3
    ),
    "another certificate": Case(
        "lambda.UpdateAlias", "model-2", "model-3", of(replace(IRIS, certificate_arn=OTHER)), of(IRIS), flips=3
    ),
    "a REST API with the same address": Case(
        "lambda.UpdateAlias", "model-2", "model-3", of(IRIS, "rest"), of(IRIS), flips=3
    ),
    "an HTTP API with the same address": Case(
        "lambda.UpdateAlias", "model-2", "model-3", of(IRIS), of(IRIS, "rest"), flips=3
    ),
    "no domain any more": Case("lambda.UpdateAlias", "model-2", "model-3", of(None), of(IRIS), flips=3),
}
_GATEWAY = "apigateway(v2)?"
# All other calls are made without a domain, too: see test_push_faults.
_OF_DOMAINS = ".*(Domain|Mapping|[Tt]agResource|Delete(Rest)?Api$)"

# A refusal leaves what a death leaves; where most is made and taken away is enough for the words of it.
_STORIES = [*itertools.product(CASES, ("died before", "died after")), ("another name", "denied")]


@pytest.mark.parametrize(("name", "kind"), _STORIES)
def test_a_push_that_fails_changes_nothing_for_callers_and_the_next_one_ends_like_an_undisturbed_one(
    accounts, name, kind
):
    problems = story(accounts, CASES[name], kind, _GATEWAY, only=_OF_DOMAINS, sampled=True)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("kind", ["died before", "died after"])
@pytest.mark.parametrize("name", ["a domain", "no domain any more"])
def test_a_death_when_the_ground_is_noted_is_mended_too(accounts, name, kind):
    problems = story(accounts, CASES[name], kind, "lambda", only="UpdateAlias")
    assert not problems, "\n".join(problems)


def reachable(stand):
    """The addresses under which a caller gets an answer."""
    client, rest, found = stand.clients["apigatewayv2"], stand.clients["apigateway"], set()
    stages = {
        (api["ApiId"], stage["StageName"])
        for api in client.get_apis()["Items"]
        for stage in client.get_stages(ApiId=api["ApiId"])["Items"]
    } | {
        (api["id"], stage["stageName"])
        for api in rest.get_rest_apis()["items"]
        for stage in rest.get_stages(restApiId=api["id"])["item"]
    }
    for each in client.get_domain_names()["Items"]:
        for one in client.get_api_mappings(DomainName=each["DomainName"])["Items"]:
            if (one["ApiId"], one["Stage"]) in stages:
                found.add(f"{each['DomainName']}/{one.get('ApiMappingKey', '')}")
    return found


def addresses(case):
    return {f"{settings['api'].domain.name}/{settings['api'].domain.path}" for settings in (case.before, case.settings)}


@pytest.mark.parametrize("name", [name for name in CASES if "another" in name or "same address" in name])
def test_no_caller_of_a_domain_is_lost_while_it_changes_and_when_the_run_dies(accounts, name):
    case, calls = CASES[name], undisturbed(accounts, CASES[name]).calls
    writes = [call for call in calls if re.match(rf"{_GATEWAY}\.(?!Get){_OF_DOMAINS}", call)]
    assert writes
    for number, call in enumerate(writes):
        fault = Fault("died after", call, writes[: number + 1].count(call))
        with accounts.account() as stand:
            case.prepare(stand)
            ways = []
            fault.arrange(stand)
            watch(stand, ways, case)
            with pytest.raises(Death):
                case.push(stand)
            stand.undisturbed()
            watch(stand, ways, case)
            case.push(stand, force=True)
            assert all(ways), f"{fault}: {ways}"
            assert len(reachable(stand)) == 1


def watch(stand, ways, case):
    """Note which of the addresses answer, before and after what is written of the gateway."""
    before, after = stand.before, stand.after

    def note(call):
        if call.startswith("apigateway") and ".Get" not in call:
            ways.append(reachable(stand) & addresses(case))

    stand.before = lambda call: note(call) or before(call)
    stand.after = lambda call: note(call) or after(call)
