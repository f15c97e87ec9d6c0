from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ragkit.indexers.readers.find_files import FileList, Problem, find_files


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {name}")


def ids(found: FileList) -> list[str]:
    return [file.id for file in found.files]


def reasons(problems: tuple[Problem, ...]) -> dict[str, str]:
    return {Path(problem.path).name: problem.reason for problem in problems}


def test_folder_is_walked_and_ids_are_relative_to_it(tmp_path: Path) -> None:
    write(tmp_path, "b.md", "sub/deep/a.txt", "sub/c.html")
    found = find_files([tmp_path])
    assert ids(found) == ["b.md", "sub/c.html", "sub/deep/a.txt"]
    assert [file.path for file in found.files] == [
        tmp_path / "b.md",
        tmp_path / "sub/c.html",
        tmp_path / "sub/deep/a.txt",
    ]
    assert (found.failed, found.skipped) == ((), ())


def test_file_given_by_itself_has_its_name_as_id(tmp_path: Path) -> None:
    write(tmp_path, "sub/a.md")
    assert ids(find_files([tmp_path / "sub/a.md"])) == ["a.md"]
    assert ids(find_files([str(tmp_path / "sub/a.md")])) == ["a.md"]


def test_same_name_in_two_folders_is_two_files_in_order_of_path(tmp_path: Path) -> None:
    write(tmp_path, "one/a.md", "two/a.md")
    found = find_files([tmp_path / "two", tmp_path / "one"])
    assert [(file.id, file.path.parent.name) for file in found.files] == [("a.md", "one"), ("a.md", "two")]


def test_file_reached_twice_is_listed_once(tmp_path: Path) -> None:
    write(tmp_path, "docs/a.md")
    (tmp_path / "docs/linked.md").symlink_to("a.md")
    os.link(tmp_path / "docs/a.md", tmp_path / "docs/z-hard.md")
    found = find_files([tmp_path / "docs", tmp_path / "docs/a.md", str(tmp_path / "**/*.md")])
    assert ids(found) == ["a.md"]


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "docs/a.md", "work/b.md")
    monkeypatch.chdir(tmp_path / "work")
    found = find_files(["b.md", "../docs"])
    assert [(file.id, file.path) for file in found.files] == [
        ("a.md", tmp_path / "docs/a.md"),
        ("b.md", tmp_path / "work/b.md"),
    ]


def test_link_in_the_path_is_kept(tmp_path: Path) -> None:
    write(tmp_path, "v3/a.md")
    (tmp_path / "latest").symlink_to("v3")
    assert find_files([tmp_path / "latest"]).files[0].path == tmp_path / "latest/a.md"


def test_glob_patterns(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "b.txt", "sub/c.md", "sub/deep/d.md", "sub/deep/e.txt")
    assert ids(find_files([f"{tmp_path}/*.md"])) == ["a.md"]
    assert ids(find_files([f"{tmp_path}/**/*.md"])) == ["a.md", "sub/c.md", "sub/deep/d.md"]
    assert ids(find_files([f"{tmp_path}/sub/**/*.[mt]*"])) == ["c.md", "deep/d.md", "deep/e.txt"]
    assert ids(find_files([f"{tmp_path}/?.txt"])) == ["b.txt"]
    assert ids(find_files([f"{tmp_path}/*/deep/*"])) == ["sub/deep/d.md", "sub/deep/e.txt"]


def test_pattern_that_matches_a_folder_stands_for_all_below_it(tmp_path: Path) -> None:
    write(tmp_path, "2023/a.md", "2023/x/b.md", "2024/c.md", "d.md")
    assert ids(find_files([f"{tmp_path}/202?"])) == ["2023/a.md", "2023/x/b.md", "2024/c.md"]
    assert ids(find_files([f"{tmp_path}/**"])) == ["2023/a.md", "2023/x/b.md", "2024/c.md", "d.md"]


def test_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    write(tmp_path, "report [1].md", "report 1.md")
    assert ids(find_files([tmp_path / "report [1].md"])) == ["report [1].md"]


def test_pattern_without_match_fails_by_name(tmp_path: Path) -> None:
    pattern = f"{tmp_path}/**/*.pdf"
    assert find_files([pattern]).failed == (Problem(pattern, "no file matches this pattern"),)
    assert len(find_files([f"{tmp_path}/missing/*.pdf"]).failed) == 1


def test_corpus_in_the_folder_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "mine/manifest.json", "mine/catalogue.sqlite", "mine/lexical/vocab.json")
    write(tmp_path, "site/manifest.json")
    for found in (find_files([tmp_path]), find_files([f"{tmp_path}/**/*"])):
        assert ids(found) == ["a.md", "site/manifest.json"]
        assert reasons(found.skipped) == {"mine": "a corpus of ragkit, not documents to read"}
        assert (len(found.skipped), found.failed) == (1, ())
    named = find_files([tmp_path / "mine"])
    assert (named.files, reasons(named.failed).keys()) == ((), {"mine"})
    assert ids(find_files([tmp_path / "mine/manifest.json"])) == ["manifest.json"]


@pytest.mark.timeout(20)
def test_link_loops_end(tmp_path: Path) -> None:
    write(tmp_path, "docs/a.md", "docs/sub/b.md")
    for folder, name in (("docs", "self"), ("docs", "self2"), ("docs/sub", "up"), ("docs/sub", "up2")):
        (tmp_path / folder / name).symlink_to(tmp_path / "docs")
    (tmp_path / "docs/ring.md").symlink_to("ring.md")
    found = find_files([tmp_path / "docs", f"{tmp_path}/**/**/*.md"])
    assert ids(found) == ["a.md", "sub/b.md"]
    assert reasons(found.skipped) == {"ring.md": "a link that leads nowhere"}


def test_folder_behind_a_link_is_walked(tmp_path: Path) -> None:
    write(tmp_path, "elsewhere/a.md")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/linked").symlink_to(tmp_path / "elsewhere")
    assert ids(find_files([tmp_path / "docs"])) == ["linked/a.md"]


def test_real_place_wins_over_a_link(tmp_path: Path) -> None:
    write(tmp_path, "v3/a.md")
    (tmp_path / "current").symlink_to("v3")
    assert ids(find_files([tmp_path])) == ["v3/a.md"]


def test_hidden_names_are_passed_over_unless_given(tmp_path: Path) -> None:
    write(tmp_path, ".git/a.md", ".b.md", "c.md")
    found = find_files([tmp_path])
    assert (ids(found), found.skipped) == (["c.md"], ())
    assert ids(find_files([tmp_path / ".b.md", tmp_path / ".git"])) == [".b.md", "a.md"]


def test_other_kinds_in_a_folder_are_skipped_with_a_reason(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "tool.py", "LICENSE")
    (tmp_path / "x.gif").write_bytes(b"GIF89a" + bytes(20))
    (tmp_path / "old.doc").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(20))
    found = find_files([tmp_path])
    assert ids(found) == ["a.md"]
    assert reasons(found.skipped).keys() == {"tool.py", "LICENSE", "x.gif", "old.doc"}
    assert "suffix .py" in reasons(found.skipped)["tool.py"]
    assert "without suffix" in reasons(found.skipped)["LICENSE"]
    assert "GIF" in reasons(found.skipped)["x.gif"]
    assert ".docx" in reasons(found.skipped)["old.doc"]


def test_content_shows_the_kind_where_the_suffix_does_not(tmp_path: Path) -> None:
    (tmp_path / "scan.dat").write_bytes(b"%PDF-1.4 ...")
    assert ids(find_files([tmp_path])) == ["scan.dat"]


def test_named_file_of_unknown_suffix_is_taken(tmp_path: Path) -> None:
    write(tmp_path, "LICENSE")
    (tmp_path / "x.gif").write_bytes(b"GIF89a" + bytes(20))
    found = find_files([tmp_path / "LICENSE", tmp_path / "x.gif"])
    assert ids(found) == ["LICENSE"]
    assert "GIF" in reasons(found.failed)["x.gif"]


def test_missing_and_empty_paths_fail(tmp_path: Path) -> None:
    found = find_files([tmp_path / "gone.pdf", ""])
    assert found.failed == (
        Problem(str(tmp_path / "gone.pdf"), "no such file or folder"),
        Problem("", "an empty path"),
    )


@pytest.mark.timeout(20)
def test_pipes_sockets_and_devices_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a.md")
    os.mkfifo(tmp_path / "pipe.md")
    (tmp_path / "null.md").symlink_to("/dev/null")
    monkeypatch.chdir(tmp_path)  # the path of a socket may have 108 bytes
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock.md")
        in_folder = find_files([tmp_path])
        by_name = find_files(["pipe.md", "sock.md", "/dev/zero"])
    assert ids(in_folder) == ["a.md"]
    assert reasons(in_folder.skipped) == {
        "pipe.md": "a named pipe, not a file to read",
        "null.md": "a device, not a file to read",
        "sock.md": "a socket, not a file to read",
    }
    assert reasons(by_name.failed).keys() == {"pipe.md", "sock.md", "zero"}


def test_unreadable_folder_and_file_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a.md", "locked/b.md", "secret.bin")
    real_list, real_open = os.listdir, Path.open

    def listdir(path: Path) -> list[str]:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return real_list(path)

    def open_(self: Path, *args: object, **kwargs: object) -> object:
        if self.name == "secret.bin":
            raise PermissionError(13, "Permission denied")
        return real_open(self, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "listdir", listdir)
    monkeypatch.setattr(Path, "open", open_)
    found = find_files([tmp_path])
    assert ids(found) == ["a.md"]
    assert reasons(found.failed) == {
        "locked": "the folder cannot be read: Permission denied",
        "secret.bin": "cannot be read: Permission denied",
    }


def test_name_that_is_not_unicode_fails(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.md")).write_text("x")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    found = find_files([tmp_path])
    assert found.files == ()
    assert "not valid Unicode" in found.failed[0].reason
    found.failed[0].path.encode()


@pytest.mark.timeout(60)
def test_very_deep_folder(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(1200):
        folder = folder / "d"
        folder.mkdir()
    (folder / "a.md").write_text("deep")
    found = find_files([tmp_path])
    (folder / "a.md").unlink()
    while folder != tmp_path:  # deeper than pytest can clear away
        folder.rmdir()
        folder = folder.parent
    assert [len(file.path.parts) - len(tmp_path.parts) for file in found.files] == [1201]
