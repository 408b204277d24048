"""thampi init: the questions, and the thampi.toml that the answers make; all files or none."""

import configparser
import json
import os
import secrets
import shlex
import string
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from thampi import names, shipped
from thampi.errors import ConfigError

# The file that each package manager reads, when the project has one.
DEPENDENCY_FILES = {"pip": "requirements.txt", "conda": "environment.yml"}
_EXAMPLE_MODEL = "iris-sklearn"  # what the example's train.py saves
_TEMPLATE = Path(__file__).with_name("thampi.toml.template")


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What has to be known to write a thampi.toml; without a profile or region, AWS's own defaults are used."""

    name: str
    bucket: str
    profile: str | None = None
    region: str | None = None
    package_manager: str = "pip"
    example: bool = False


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question: the field of Answers that it fills, and what is wrong with an answer (None: nothing)."""

    field: str
    about: str
    text: str
    default: str | None
    check: Callable[[str], str | None]


def questions(environ: Mapping[str, str]) -> tuple[Question, ...]:
    """Make the questions, in order. Nobody is asked for a profile when there is no choice between several."""
    found = profiles(environ)
    profile = Question(
        field="profile",
        about=f"The AWS profiles of this machine: {', '.join(found)}.",
        text="Which of them may thampi use",
        default=default_profile(environ),
        check=lambda text: None if text in found else f"should be one of {', '.join(found)}",
    )
    return (
        Question(
            field="name",
            about="For a model called mymodel, predictions are answered at …/mymodel/predict.",
            text="What do you want to call your model",
            default=None,
            check=check_name,
        ),
        *([profile] if len(found) > 1 else []),
        Question(
            field="bucket",
            about="Models are kept in a private S3 bucket. If it isn't there yet, it is made at the first push.",
            text="What do you want to call your bucket",
            default=default_bucket(),
            check=check_bucket,
        ),
        Question(
            field="package_manager",
            about="The image's libraries are installed by a package manager.",
            text="Which one: pip or conda",
            default="pip",
            check=check_package_manager,
        ),
    )


def check_name(text: str) -> str | None:
    """Say what is wrong with the project's name, None if nothing."""
    return names.wrong_project(text)


def check_bucket(text: str) -> str | None:
    """Say what is wrong with the bucket's name, None if nothing."""
    return names.wrong_bucket(text)


def check_package_manager(text: str) -> str | None:
    """Say what is wrong with the package manager, None if nothing."""
    return None if text in DEPENDENCY_FILES else "should be pip or conda"


def default_bucket() -> str:
    """Make a bucket's name that nobody has: S3 has one namespace for everybody."""
    letters = string.ascii_lowercase + string.digits
    return "thampi-" + "".join(secrets.choice(letters) for _ in range(9))


def default_profile(environ: Mapping[str, str]) -> str | None:
    """Choose the profile that AWS's own tools would use; None if there is none at all."""
    found = profiles(environ)
    wanted = (environ.get("AWS_PROFILE"), environ.get("AWS_DEFAULT_PROFILE"), "default", *found)
    return next((name for name in wanted if name in found), None)


def profiles(environ: Mapping[str, str]) -> dict[str, str | None]:
    """Read the AWS profiles of this machine, each with its region."""
    home = Path(environ.get("USERPROFILE" if os.name == "nt" else "HOME") or Path.home()) / ".aws"
    config = _read_sections(Path(environ.get("AWS_CONFIG_FILE") or home / "config"))
    credentials = _read_sections(Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials"))
    found: dict[str, str | None] = {}
    for title, section in config.items():
        if (name := _profile_name(title)) is not None:
            found[name] = section.get("region") or None
    for name, section in credentials.items():
        found[name] = section.get("region") or found.get(name)
    return found


def init(folder: Path, answers: Answers, *, say: Callable[[str], None]) -> tuple[Path, ...]:
    """Write thampi.toml, and the example's files if asked for; return what was written.

    A file that exists is never overwritten, and when one can't be written none is left behind.
    """
    _check(answers)
    copies = _example_files(answers)
    check_free(folder, ("thampi.toml", *copies))
    # thampi.toml comes last: where it lies, there is a whole project.
    contents = {name: source.read_text(encoding="utf-8") for name, source in copies.items()}
    contents["thampi.toml"] = _render(folder, answers)
    written = _write(folder, contents)
    for path in written:
        say(f"wrote {path}")
    return written


def check_free(folder: Path, files: Iterable[str] = ("thampi.toml",)) -> None:
    """Refuse to overwrite a file; asked before the questions, too, so that nobody answers them in vain."""
    existing = [name for name in files if os.path.lexists(folder / name)]
    if existing:
        raise ConfigError(
            f"{' and '.join(existing)} in {folder.resolve()} would be overwritten; nothing was written",
            hint="delete it, or run `thampi init` in another folder",
        )


def _check(answers: Answers) -> None:
    wrong = {
        "name": check_name(answers.name),
        "profile": _wrong_profile(answers.profile or "default"),
        "region": names.wrong_region(answers.region) if answers.region else None,
        "bucket": check_bucket(answers.bucket),
        "package_manager": check_package_manager(answers.package_manager),
    }
    mistakes = [f"{field}: {words}, is {_quoted(getattr(answers, field))}" for field, words in wrong.items() if words]
    if mistakes:
        raise ConfigError("\n".join(mistakes), hint="answer again; nothing was written")


def _wrong_profile(text: str) -> str | None:
    plain = text.isprintable() and text.strip() == text
    return None if plain else "should be one line without spaces around it"


def _example_files(answers: Answers) -> dict[str, Path]:
    if not answers.example:
        return {}
    source = shipped.folder() / "examples" / "iris"
    wanted = ("train.py", DEPENDENCY_FILES[answers.package_manager])
    if not all((source / name).is_file() for name in wanted):
        raise ConfigError(
            f"the example is not written for {answers.package_manager}; nothing was written",
            hint="choose the package manager pip, or leave out --example",
        )
    return {name: source / name for name in wanted}


def _render(folder: Path, answers: Answers) -> str:
    dependency_file = DEPENDENCY_FILES[answers.package_manager]
    known = answers.example or (folder / dependency_file).is_file()
    model = _EXAMPLE_MODEL if answers.example else answers.name
    return string.Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        name=_quoted(answers.name),
        model_dir=_quoted(f"models/{model}"),
        dependency_file=_line("dependency_file", dependency_file, commented=not known),
        package_manager=_quoted(answers.package_manager),
        profile=_line("profile", answers.profile or "default", commented=not answers.profile),
        region=_line("region", answers.region or "us-east-1", commented=not answers.region),
        bucket=_quoted(answers.bucket),
    )


def _line(key: str, value: str, *, commented: bool) -> str:
    return f"{'# ' if commented else ''}{key} = {_quoted(value)}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # for printable text JSON's strings are TOML's


def _write(folder: Path, contents: Mapping[str, str]) -> tuple[Path, ...]:
    with ExitStack() as undo:
        for path, text in ((folder / name, text) for name, text in contents.items()):
            try:
                with path.open("x", encoding="utf-8", newline="\n") as file:
                    undo.callback(path.unlink, missing_ok=True)
                    file.write(text)
            except OSError as error:
                raise ConfigError(
                    f"{path} can't be written: {error.strerror}; nothing is left behind",
                    hint="check that the folder is there and yours, and that the disk has room",
                ) from error
        undo.pop_all()
    return tuple(folder / name for name in contents)


def _read_sections(path: Path) -> dict[str, dict[str, str]]:
    # AWS's files know neither interpolation nor a section of defaults, and tolerate what stands twice.
    parser = configparser.RawConfigParser(default_section="", strict=False, allow_no_value=True)
    try:
        parser.read(path.expanduser(), encoding="utf-8-sig")
    except (configparser.Error, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{path} can't be read: {reason}", hint="`aws configure list` shows what is wrong") from error
    return {title: {key: value or "" for key, value in parser[title].items()} for title in parser.sections()}


def _profile_name(title: str) -> str | None:
    """Turn `default` or `profile X` into the profile's name; other sections of the file are no profiles."""
    try:
        words = shlex.split(title)
    except ValueError:
        return None
    if words == ["default"]:
        return "default"
    return words[1] if len(words) == 2 and words[0] == "profile" else None
