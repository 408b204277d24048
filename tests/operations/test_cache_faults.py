"""Answers that are given again, switched on, changed and off by a push that is killed at any call: see `faults`."""

import pytest

from tests.operations.faults import Case, story
from thampi.config import AnswerCache, Api

ON, LONGER = ({"api": Api(cache=AnswerCache(ttl_s=ttl_s))} for ttl_s in (60, 600))
CASES = {
    "on": Case("lambda.UpdateAlias", "model-2", "model-3", ON),
    "changed": Case("lambda.UpdateAlias", "model-2", "model-3", LONGER, ON),
    "off": Case("lambda.UpdateAlias", "model-2", "model-3", {"api": Api()}, ON),
}


@pytest.mark.parametrize("kind", ["died before", "died after"])
@pytest.mark.parametrize("name", CASES)
def test_a_push_that_is_killed_while_answers_begin_or_cease_to_be_kept_ends_like_an_undisturbed_one(
    accounts, name, kind
):
    problems = story(accounts, CASES[name], kind, "lambda")
    assert not problems, "\n".join(problems)
