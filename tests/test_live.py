"""The live view answers what it should, to whom it should; everything else is refused in words."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from numpy.typing import NDArray

from attnverify import store
from attnverify.errors import UsageError
from attnverify.library import catalog
from attnverify.live import Server
from attnverify.live.asked import asked
from attnverify.live.drawn import Drawing, drawing
from attnverify.live.pages import redraw_script
from attnverify.live.query import Query, Refused
from attnverify.report.cells import Cells
from attnverify.report.changes import changes
from attnverify.report.html import filter_script
from attnverify.verdict import Report, Section, Status, Verdict
from tests.pages import HOSTILE, VOID, WHOLE, Page, everywhere

SLOW = replace(WHOLE.sections[0].verdicts[0], seconds=3.0, status=Status.HELD)
LATER = Report((replace(WHOLE.sections[0], verdicts=(SLOW,)),))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of two reports, one of them in a folder, and of a store with one run."""
    folder = tmp_path_factory.mktemp("live")
    reports = folder / "reports"
    WHOLE.to_json(reports / "old.json")
    LATER.to_json(reports / "sub" / "new one.json")
    (reports / "other.json").write_text('{"reports": 3}', "utf-8")
    (reports / "bench.json").write_text("[]", "utf-8")
    LATER.to_json(folder / "secret.json")
    (reports / "link.json").symlink_to(folder / "secret.json")
    run = store.begin({"command": "verify"}, {}, folder / "store")
    run.append("causal", SLOW)
    with Server(reports, folder / "store", port=0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(
    server: Server, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, str]:
    """One request, sent as it stands; the answer and its text."""
    port = int(server.server_address[1])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in {"Host": f"127.0.0.1:{port}", **headers}.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode("utf-8")
    connection.close()
    return answer, text


def read(server: Server, path: str) -> Page:
    """A page that is there, well formed, with no script but the project's."""
    answer, text = ask(server, path)
    assert answer.status == 200, text
    found = Page(text)
    assert found.open == []
    assert set(found.scripts) <= {filter_script(), redraw_script()}
    assert not [n for _, attrs in found.elements for n in attrs if n.startswith("on")]
    return found


def test_runs_are_listed_and_lead_to_their_pages(served: Server) -> None:
    index = read(served, "/")
    runs = [link for link in index.values("href") if link.startswith("/runs/")]
    assert runs[:3] == ["/runs/old.json/", "/runs/other.json/", "/runs/sub%2Fnew%20one.json/"]
    assert len(runs) == 4
    assert "link.json" not in index.text
    assert "bench.json" not in index.text
    assert "1 verdict of 2 sections fails" not in index.text
    assert f"{len(WHOLE.failures)} verdicts of 2 sections fail" in index.text
    assert {f"/specs/{name}" for name in catalog()} <= set(index.values("href"))
    for run in (runs[0], *runs[2:]):
        whole = read(served, run)
        below = [link for link in whole.values("href") if link.startswith("pages/")]
        assert below
        page = read(served, run + below[0].split("#")[0])
        assert {"/", "../"} <= set(page.values("href"))
    assert ask(served, runs[1])[0].status == 400
    moved, _ = ask(served, runs[0].rstrip("/"))
    assert (moved.status, moved.headers["Location"]) == (301, runs[0])


def test_two_runs_are_compared(served: Server) -> None:
    found = read(served, "/compare?old=old.json&new=" + quote("sub/new one.json"))
    assert "6 verdicts changed, 0 stayed, 1 got slower; 0 s then, 3 s now" in found.text
    assert "rows sum to one PROVED HELD" in found.text
    same = read(served, "/compare?old=old.json&new=old.json")
    assert "0 verdicts changed, 6 stayed, 0 got slower" in same.text


def test_a_spec_is_drawn_as_it_is_asked_for(served: Server) -> None:
    found = read(served, "/specs/sliding_window?size.queries=5&size.keys=5&set.window=2&head=1")
    assert "9 of 25 pairs are seen" in found.text
    assert any(
        label.startswith("dK, 2 of 2: keys downwards") for label in found.values("aria-label")
    )
    again, text = ask(served, "/specs/sliding_window?set.window=2", "HEAD")
    assert (again.status, text) == (200, "")


HEADERS = {
    "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin", "Referrer-Policy": "no-referrer",
}  # fmt: skip


@pytest.mark.parametrize("path", ["/", "/specs/causal", "/nothing", "/runs/old.json/"])
def test_no_other_site_reads_or_frames_a_page(served: Server, path: str) -> None:
    answer, text = ask(served, path, Origin="http://evil.example")
    assert HEADERS.items() <= dict(answer.headers).items()
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'sha256-" in policy
    assert "script-src 'unsafe" not in policy
    assert "Traceback" not in text


HOSTS = [
    ("127.0.0.1", 200), ("localhost", 200), ("LOCALHOST:1", 200), ("[::1]:80", 200),
    ("127.0.0.2", 200), ("evil.example", 421), ("127.0.0.1.evil.example", 421), ("", 421),
    ("10.0.0.1", 421), ("localhost evil", 421), ("localhost:80:80", 421), ("[evil]", 421),
    ("127.0.0.1@evil.example", 421), ("0x7f.1", 421),
]  # fmt: skip


@pytest.mark.parametrize(("host", "status"), HOSTS)
def test_a_name_that_was_made_to_point_here_is_refused(
    served: Server, host: str, status: int
) -> None:
    answer, text = ask(served, "/", Host=host)
    assert answer.status == status
    assert ("old.json" in text) == (status == 200)


def test_a_request_that_another_site_causes_is_refused(served: Server) -> None:
    assert ask(served, "/specs/causal", Sec_Fetch_Site="cross-site")[0].status == 403
    ours = ask(served, "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")
    assert ours[0].status == 200
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer, text = ask(served, "/", method)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
        assert "read with GET" in text
    assert ask(served, "http://evil.example/")[0].status == 400


PATHS = [
    "/..", "/../secret.json", "/runs/../secret.json", "/runs/..%2Fsecret.json/",
    "/runs/%2e%2e%2fsecret.json/", "/runs/link.json/", "/runs/%2Fetc%2Fpasswd/",
    "/runs/old.json/../old.json", "/runs/old.json/pages/../../x", "/runs/old.json/pages/",
    "/runs/old.json/pages/%00", "/runs/", "/runs", "/compare/x", "/specs", "/specs/", "/specs/a/b",
    "/specs/..%2Fspecs%2Fcausal", "/specs/causal.py", "/specs/%2Fetc%2Fpasswd", "/specs/__init__",
    "/specs/causal%00", "/specs/%ff", "/index.html", "//evil.example/", "/%3Cscript%3E",
]  # fmt: skip
QUERIES = [
    "size.queries=0", "size.queries=-1", "size.queries=33", "size.queries=1e9",
    "size.queries=9999999999", "size.queries=", "size.queries=4.0", "size.queries=0x4",
    "size.queries=%D9%A4", "size.queries=4&size.queries=5", "size.batch=1", "size.nothing=1",
    "set.window=0", "set.window=66", "set.window=None", "set.window=__import__('os')",
    "set.other=1", "choose.align=sideways", "choose.align=", "choose.other=1", "entries=giant",
    "seed=-1", "seed=1000000", "head=16", "row=-2", "row=x", "x", "x=1", "=", "%", "a=%ff",
    "&".join(f"a{n}=1" for n in range(61)), "x=" + "y" * 4000, "size.queries=4;seed=1",
]  # fmt: skip
ADDRESSES = [*PATHS, *(f"/specs/sliding_window?{query}" for query in QUERIES),
             "/?x=1", "/runs/old.json/?x=1", "/compare?old=nothing", "/compare?old=../secret.json",
             "/specs/softcap?set.cap=0", "/specs/softcap?set.cap=nan", "/specs/softcap?set.cap=1e3",
             "/specs/softcap?set.cap=-1"]  # fmt: skip


@pytest.mark.parametrize("path", ADDRESSES, ids=lambda path: path[:60])
def test_what_there_is_not_is_refused_in_one_sentence(served: Server, path: str) -> None:
    answer, text = ask(served, path)
    assert answer.status in {400, 404}
    found = Page(text)
    assert found.open == []
    assert found.scripts == []
    sentence = text.split('sentence">')[1].split("</p>")[0]
    assert sentence
    assert "\n" not in sentence
    assert len(sentence) < 600
    assert "Traceback" not in text
    assert "root:" not in text


PLAIN = {"html", "head", "title", "style", "body", "a", "header", "main", "p", "h1", *VOID}


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_text_is_inert_in_what_is_served(
    words: str, served: Server, tmp_path: Path
) -> None:
    told = words.encode("utf-8", "replace").decode()
    for path in (f"/specs/{quote(told)}", f"/specs/causal?{quote(told)}={quote(told)}",
                 f"/compare?old={quote(told)}", f"/runs/{quote(told)}/"):  # fmt: skip
        answer, text = ask(served, path[:60_000])
        assert answer.status in {400, 404}
        assert not Page(text).scripts
        assert {tag for tag, _ in Page(text).elements} <= PLAIN
    everywhere(words).to_json(tmp_path / "one.json")
    LATER.to_json(tmp_path / "two.json")
    with Server(tmp_path, tmp_path / "none", port=0) as server:
        for steps, query in (([""], ""), (["compare"], "old=one.json&new=two.json")):
            text = server.view.answer(steps, Query.read(query)).text
            found = Page(text)
            assert found.open == []
            assert not found.scripts
            assert not [n for _, attrs in found.elements for n in attrs if n.startswith("on")]
            assert not [c for c in text if ord(c) < 32 and c not in "\n\t"]


def test_an_address_that_is_taken_is_told(served: Server) -> None:
    port = int(served.server_address[1])
    with pytest.raises(UsageError, match="cannot be served"):
        Server(served.view.folder, served.view.kept, port=port)


def drawn(name: str, query: str = "") -> Drawing:
    return drawing(asked(name, Query.read(query)))


def pictures(found: Drawing) -> dict[str, Cells]:
    return {one.title: one for _, _, group in found.groups for one in group}


def numbers(found: Cells) -> NDArray[np.float64]:
    rows = [[np.nan if n == "not seen" else float(n) for n in row] for row in found.numbers]
    return np.array(rows)


def test_the_mask_is_that_of_the_parameters() -> None:
    found = pictures(drawn("sliding_window", "set.window=4&size.queries=9&size.keys=9"))
    i, j = np.ogrid[:9, :9]
    assert (~np.isnan(numbers(found["mask"])) == ((j <= i) & (j > i - 4))).all()
    rows = np.nansum(numbers(found["weights A"]), axis=1)
    assert (np.abs(rows - 1) < 0.05).all()


@pytest.mark.parametrize("row", [0, 3, 7])
def test_a_loss_that_reads_one_row_reaches_what_the_row_sees(row: int) -> None:
    found = pictures(drawn("causal", f"row={row}&size.queries=8&size.keys=8&size.heads=1"))
    for name in ("dK", "dV"):
        assert not numbers(found[name])[row + 1 :].any()
    assert numbers(found["dV"])[: row + 1].any(axis=1).all()
    assert set(np.flatnonzero(numbers(found["dQ"]).any(axis=1))) == ({row} if row else set())
    everything = pictures(drawn("causal", "size.queries=8&size.keys=8&size.heads=1"))
    assert numbers(everything["dV"])[7].any()


def test_a_head_shows_its_own_weights() -> None:
    one, two = (pictures(drawn("alibi", f"head={head}")) for head in (0, 1))
    assert one["weights A"].numbers != two["weights A"].numbers


def test_what_is_too_large_to_draw_is_refused() -> None:
    sizes = "size.rows=32&size.columns=32"
    with pytest.raises(Refused, match="more than 200000 entries"):
        drawn("neighbourhood_2d", sizes)


@pytest.mark.slow
@pytest.mark.parametrize("name", catalog())
def test_every_spec_of_the_catalogue_is_drawn(name: str) -> None:
    titles = pictures(drawn(name)).keys()
    assert {title.split(",")[0] for title in titles} >= set(
        asked(name, Query.read("")).spec.outputs
    )
    assert any(title.startswith("d") for title in titles)


STATUSES = {
    "P": Verdict("a", Status.PROVED), "H": Verdict("a", Status.HELD),
    "R": Verdict("a", Status.REFUTED), "E": Verdict("a", Status.REFUTED, expected=True),
    "U": Verdict("a", Status.UNDECIDED), "-": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("then", "now", "worse"),
    [("P", "H", True), ("H", "P", False), ("H", "R", True), ("R", "E", False), ("E", "R", True),
     ("H", "U", True), ("P", "-", True), ("-", "P", False), ("-", "R", True), ("U", "R", True),
     ("P", "E", True), ("P", "P", None), ("R", "R", None)],
)  # fmt: skip
def test_a_change_is_told_and_is_worse_where_it_is(then: str, now: str, worse: bool | None) -> None:
    old, new = (Report((Section("s", tuple(v for v in (STATUSES[k],) if v)),)) for k in (then, now))
    found = changes(old, new)
    assert [row.worse for row in found.verdicts] == ([] if worse is None else [worse])
    assert found.same == (worse is None)


def test_the_second_of_one_name_is_compared_with_the_second() -> None:
    proved, held = STATUSES["P"], STATUSES["H"]
    assert proved is not None
    assert held is not None
    old = Report((Section("s", (proved, held)),))
    assert changes(old, old).verdicts == ()
    found = changes(old, Report((Section("s", (proved, proved)),)))
    assert [(row.old, row.new) for row in found.verdicts] == [(held, proved)]


@pytest.mark.parametrize(
    ("then", "now", "slower"), [(0, 1, 1), (1, 1.4, 0), (1, 1.6, 1), (0.01, 0.09, 0), (2, 1, 0)]
)
def test_slower_is_half_as_long_again_and_a_tenth_of_a_second(
    then: float, now: float, slower: int
) -> None:
    old, new = (
        Report((Section("s", (Verdict("a", Status.HELD, seconds=s),)),)) for s in (then, now)
    )
    assert len(changes(old, new).slower) == slower
