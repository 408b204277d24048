"""The lines of a requirements file, as pip reads them: continuations, comments, variables, and the files it names."""

import pytest


def test_comments_and_empty_lines_say_nothing(installed):
    assert installed("# what we need\n\n  # numbers\nnumpy==2.4.6  # the newest\n\t\nscipy\n#six\n") == [
        "numpy==2.4.6",
        "scipy",
    ]


def test_a_comment_needs_a_space_before_it(installed):
    assert installed("six @ https://example.com/six.zip#sha256=abc\n") == [
        "six @ https://example.com/six.zip#sha256=abc"
    ]


def test_a_line_that_ends_with_a_backslash_goes_on(installed):
    text = "numpy==2.4.6 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nscipy\n"
    assert installed(text) == ["numpy==2.4.6 --hash=sha256:aa --hash=sha256:bb", "scipy"]


def test_a_comment_ends_what_the_backslash_before_it_continued(installed):
    assert installed("numpy==2.4.6 \\\n    # via scikit-learn\nscipy\n") == ["numpy==2.4.6", "scipy"]
    assert installed("numpy\n# not a continuation \\\nscipy\n") == ["numpy", "scipy"]


def test_a_backslash_at_the_end_of_the_file_is_forgiven(installed):
    assert installed("numpy \\") == ["numpy"]


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),  # PowerShell's `pip freeze > requirements.txt`
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.rstrip("\n").encode(),
    ],
    ids=["utf-8 with a mark", "utf-16 LE", "utf-16 BE", "CRLF", "CR", "no newline at the end"],
)
def test_a_file_reads_the_same_however_an_editor_saved_it(installed, encode):
    assert installed(encode("# größer\nnumpy==2.4.6\nscipy\n")) == ["numpy==2.4.6", "scipy"]


# ------------------------------------------------------------------------------------------------------- other files


@pytest.mark.parametrize(
    "line", ["-r more.txt", "-rmore.txt", "--requirement more.txt", "--requirement=more.txt", "-r 'more.txt'"]
)
def test_the_lines_of_a_file_that_is_named_stand_in_its_place(installed, folder, line):
    (folder / "more.txt").write_text("scipy\n")
    assert installed(f"numpy\n{line}\nsix\n") == ["numpy", "scipy", "six"]


def test_a_path_is_meant_from_the_file_in_which_it_stands(installed, folder):
    (folder / "deep/deeper").mkdir(parents=True)
    (folder / "deep/one.txt").write_text("-r deeper/two.txt\n")
    (folder / "deep/deeper/two.txt").write_text("-r ../three.txt\n")
    (folder / "deep/three.txt").write_text("scipy\n")
    assert installed("-r deep/one.txt\n") == ["scipy"]


@pytest.mark.parametrize("line", ["-c pins.txt", "-cpins.txt", "--constraint pins.txt", "--constraint=pins.txt"])
def test_constraints_are_kept_apart_and_without_their_hashes(read, folder, line):
    (folder / "pins.txt").write_text("numpy==2.4.6 --hash=sha256:aa\nscipy<2; python_version < '4'\n")
    found = read(f"{line}\nnumpy\n")
    assert found.requirements == ("numpy", "cloudpickle==3.1.2")
    assert found.constraints == ("numpy==2.4.6", 'scipy<2; python_version < "4"')


def test_options_of_a_nested_file_count_as_well(read, folder):
    (folder / "deep").mkdir()
    (folder / "deep/more.txt").write_text("--pre\n--extra-index-url https://example.com/simple\n")
    found = read("-r deep/more.txt\n")
    assert found.options == ("--pre",)
    assert found.indexes.extra_index_urls == ("https://example.com/simple",)


def test_a_file_may_be_named_twice(installed, folder):
    (folder / "more.txt").write_text("scipy\n")
    (folder / "one.txt").write_text("-r more.txt\n")
    assert installed("-r one.txt\n-r more.txt\n") == ["scipy", "scipy"]


def test_a_circle_of_files_is_refused_and_shown(refusal, folder):
    (folder / "one.txt").write_text("# up\n-r two.txt\n")
    (folder / "two.txt").write_text("-r requirements.txt\n")
    error = refusal("-r one.txt\n")
    assert error.message.startswith(f"{folder / 'two.txt'}, line 1: ")
    assert "requirements.txt -> one.txt -> two.txt -> requirements.txt" in error.message


def test_a_file_that_names_itself_is_refused(refusal):
    assert "requirements.txt -> requirements.txt" in refusal("-c requirements.txt\n").message


def test_a_mistake_in_a_nested_file_is_told_with_that_file_and_line_together_with_all_others(refusal, folder):
    (folder / "more.txt").write_text("six\nscipy=1\n")
    error = refusal("-r more.txt\n-r gone.txt\nnumpy=1\n")
    assert sorted(line.partition(": ")[0] for line in error.message.splitlines()) == [
        f"{folder / 'more.txt'}, line 2",
        f"{folder / 'requirements.txt'}, line 2",
        f"{folder / 'requirements.txt'}, line 3",
    ]
    assert "gone.txt is not there" in error.message


@pytest.mark.parametrize(
    ("line", "what", "cure"),
    [
        ("-r gone.txt", "gone.txt is not there", "correct the path"),
        ("-c gone.txt", "gone.txt is not there", "correct the path"),
        ("-r deep", "can't be read", "correct the path"),
        ("-r https://example.com/requirements.txt", "on the web", "download it"),
        ("-r", "no value", "--requirement …"),
    ],
)
def test_a_file_that_can_not_be_read_is_refused_with_the_line_that_names_it(refusal, folder, line, what, cure):
    (folder / "deep").mkdir()
    error = refusal(f"numpy\n{line}\n")
    assert error.message.startswith(f"{folder / 'requirements.txt'}, line 2: ")
    assert what in error.message
    assert cure in error.hint


# --------------------------------------------------------------------------------------------------------- variables


def test_a_variable_is_filled_in_as_pip_does_it(installed):
    found = installed("numpy==${NUMPY}\nscipy ; python_version<'${MINOR_2}'\n", NUMPY="2.4.6", MINOR_2="3.13")
    assert found == ["numpy==2.4.6", 'scipy; python_version < "3.13"']


def test_a_variable_that_is_not_set_is_named_with_its_line(refusal, folder):
    error = refusal("numpy\n--extra-index-url https://${USER_}:${TOKEN}@example.com/simple\n", USER_="ann-secret")
    assert error.message == f"{folder / 'requirements.txt'}, line 2: the variable TOKEN is not set"
    assert "export TOKEN=…" in error.hint
    assert "ann-secret" not in str(error)


def test_a_variable_in_a_comment_is_nobodys_matter(installed):
    assert installed("# ${TOKEN}\nnumpy  # ${TOKEN}\n") == ["numpy"]


def test_a_variables_value_is_never_said(refusal):
    error = refusal("${PACKAGE} is here\nlib @@ https://${TOKEN}@example.com\n", PACKAGE="hidden", TOKEN="s3cret")
    assert "hidden" not in str(error)
    assert "s3cret" not in str(error)
    assert "${PACKAGE} is here" in error.message


@pytest.mark.parametrize("text", ["$HOME", "${home}", "$(HOME)"])
def test_what_pip_takes_for_no_variable_is_none(refusal, text):
    assert "not set" not in refusal(f"numpy=={text}\n", home="2").message
