"""Two policy documents are the same when they say the same."""

import json

from hypothesis import given
from hypothesis import strategies as st

from thampi.aws import policies

WORDS = st.sampled_from(["s3:GetObject", "logs:PutLogEvents", "*", "arn:aws:s3:::b/*"])
LISTS = st.lists(WORDS, min_size=1, max_size=3, unique=True)
STATEMENTS = st.lists(
    st.fixed_dictionaries(
        {"Effect": st.sampled_from(["Allow", "Deny"]), "Action": LISTS, "Resource": LISTS},
        optional={
            "Sid": st.sampled_from(["A", "B"]),
            "Principal": st.just("*") | st.fixed_dictionaries({"Service": LISTS}),
            "Condition": st.dictionaries(
                st.sampled_from(["StringLike", "ArnEquals"]),
                st.dictionaries(st.sampled_from(["aws:SourceArn", "aws:SourceAccount"]), LISTS, min_size=1),
                min_size=1,
            ),
        },
    ),
    max_size=4,
    unique_by=lambda statement: statement.get("Sid") or json.dumps(statement, sort_keys=True),
)


def rewritten(value):
    """Write the same in another way: everything in reverse, lists of one as text."""
    if isinstance(value, dict):
        return {key: rewritten(each) for key, each in reversed(value.items())}
    if isinstance(value, list):
        return rewritten(value[0]) if len(value) == 1 else [rewritten(each) for each in reversed(value)]
    return value


@given(STATEMENTS)
def test_order_and_form_make_no_difference(statements):
    document = policies.make(*statements)
    assert policies.changes("policy", document, rewritten(document)) == ()


@given(STATEMENTS, STATEMENTS)
def test_two_documents_differ_exactly_when_a_statement_does(one, other):
    def content(statements):
        return {json.dumps(_sorted(each), sort_keys=True) for each in statements}

    differ = policies.changes("policy", policies.make(*one), policies.make(*other)) != ()
    assert differ == (content(one) != content(other))


def _sorted(value):
    if isinstance(value, dict):
        return {key: _sorted(each) for key, each in value.items()}
    return sorted(value) if isinstance(value, list) else value


@given(STATEMENTS)
def test_putting_ours_in_keeps_theirs_and_is_done_once(statements):
    ours = policies.make({"Sid": "Ours", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"})
    theirs = policies.make(*statements)
    once = policies.merged(theirs, ours)
    assert [each for each in once["Statement"] if each.get("Sid") != "Ours"] == statements
    assert policies.changes("policy", once, policies.merged(once, ours)) == ()
    assert policies.merged({}, ours) == ours
