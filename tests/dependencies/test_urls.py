"""URLs are told from paths, and who we are is taken out of them."""

import os

import pytest

from thampi.dependencies import urls
from thampi.dependencies.wanted import Credentials


@pytest.mark.parametrize(
    ("url", "plain", "host", "who"),
    [
        ("https://h.org/simple", "https://h.org/simple", "h.org", None),
        ("https://ann:p%40ss@h.org:8443/simple?x=1#y", "https://h.org:8443/simple?x=1#y", "h.org", ("ann", "p@ss")),
        ("https://t0ken@h.org/", "https://h.org/", "h.org", ("t0ken", "")),
        ("https://:s3cret@h.org/", "https://h.org/", "h.org", ("", "s3cret")),
        ("https://@h.org/", "https://h.org/", "h.org", None),
        ("https://ann:p@ss@h.org/", "https://h.org/", "h.org", ("ann", "p@ss")),
        ("https://ann:x@[::1]:8080/", "https://[::1]:8080/", "::1", ("ann", "x")),
        ("git+https://ann:x@h.org/o/r@v1", "git+https://h.org/o/r@v1", "h.org", ("ann", "x")),
        ("git+ssh://git@h.org/o/r", "git+ssh://git@h.org/o/r", "h.org", None),
    ],
)
def test_who_we_are_is_taken_out(url, plain, host, who):
    assert urls.split(url) == (plain, host, Credentials(*who) if who else None)


@pytest.mark.parametrize("url", ["https://h.org:port/", "https://[::1/", "https://h.org/x/https://ann:pw@g.org/"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(ValueError, match=r".+"):
        urls.split(url)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("-i https://ann:s3cret@h.org/x", "-i https://***@h.org/x"),
        ("a https://b:c@h.org d https://e@g.org", "a https://***@h.org d https://***@g.org"),
        ("git+ssh://git@h.org/x", "git+ssh://git@h.org/x"),
        ("numpy @ file:///home/me@work/x", "numpy @ file:///home/me@work/x"),
    ],
)
def test_people_see_a_url_without_who_we_are(text, shown):
    assert urls.hidden(text) == shown


@pytest.mark.skipif(os.name == "nt", reason="paths are written otherwise there")
@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:///srv/my%20lib", "/srv/my lib"),
        ("file://localhost/srv/lib", "/srv/lib"),
        ("file:lib", "lib"),
        ("file:./lib#sha256=ab", "./lib"),
        ("FILE:///srv", "/srv"),
        ("./lib", "./lib"),
    ],
)
def test_a_file_url_is_a_path(text, path):
    assert urls.path_of(text) == path


@pytest.mark.parametrize(
    ("text", "is_one"), [("https://h.org", True), ("file:///x", False), ("./x", False), (r"C:\x", False), ("/x", False)]
)
def test_a_url_is_told_from_a_path(text, is_one):
    assert urls.is_one(text) is is_one
