"""The built site in a real browser: ``SKINVERT_SITE=DIR pytest -m slow tests/test_site.py``.

Pages load without complaints, search works without a network, pictures are there, links of the site
lead somewhere, and nothing is wider than a phone.
"""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import pytest

SITE = os.environ.get("SKINVERT_SITE")
PHONE = {"width": 390, "height": 844}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SITE, reason="SKINVERT_SITE names no built site"),
]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    """Of a server on this machine: browsers let no page of a file fetch another."""
    handler = functools.partial(_Quiet, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="a browser is driven by playwright: pip install playwright"
    )
    with sync_api.sync_playwright() as driver:
        try:
            chromium = driver.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
        except sync_api.Error as error:
            pytest.skip(f"no Chromium (playwright install chromium): {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def tab(browser, address):
    """A page at phone width; whatever lies elsewhere is out of reach."""
    tab = browser.new_page(viewport=PHONE)
    tab.complaints = []
    tab.on("console", lambda message: message.type == "error" and complain(tab, message.text))
    tab.on("pageerror", lambda error: complain(tab, str(error)))
    tab.route(lambda url: not url.startswith(address), lambda route: route.abort())
    yield tab
    tab.close()


def complain(tab, text):
    # What is out of reach is out of reach on purpose: formulas are set by MathJax from elsewhere,
    # and the gallery's table of times is sorted by a script from there.
    is_elsewhere = "sg_execution_times" in tab.url and "$ is not defined" in text
    if "ERR_FAILED" not in text and not is_elsewhere:
        tab.complaints.append(f"{tab.url}: {text}")


def pages():
    """Paths of the site, but of the copies that search engines are kept from."""
    root = Path(SITE)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.html"))


@pytest.fixture(scope="module")
def visited(tab, address):
    """For every page its links, targets, broken pictures and excess width."""
    found = {}
    for name in pages():
        if name.startswith("_static/"):
            continue
        tab.goto(address + name, wait_until="load")
        found[name] = tab.evaluate("""() => ({
            links: [...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href')),
            ids: [...document.querySelectorAll('[id]')].map(e => e.id),
            broken: [...document.images]
                .map(image => { image.loading = 'eager'; return image; })
                .filter(image => image.complete && !image.naturalWidth)
                .map(image => image.getAttribute('src')),
            unnamed: [...document.images].filter(image => !image.hasAttribute('alt')).length,
            excess: document.documentElement.scrollWidth - innerWidth,
        })""")
    return found


def test_the_site_is_there(visited):
    for name in ("index", "getting_started", "api", "glossary", "features", "search"):
        assert f"{name}.html" in visited
    assert len(visited) > 100


def test_pages_load_without_complaints(visited, tab):
    assert "\n".join(tab.complaints) == ""


def test_pictures_are_there_and_described(visited):
    assert {name: page["broken"] for name, page in visited.items() if page["broken"]} == {}
    assert {name: page["unnamed"] for name, page in visited.items() if page["unnamed"]} == {}


def test_no_page_is_wider_than_a_phone(visited):
    assert {name: page["excess"] for name, page in visited.items() if page["excess"] > 0} == {}


def test_links_within_the_site_lead_somewhere(visited):
    base = "http://site/"
    dead = []
    for name, page in visited.items():
        for link in set(page["links"]):
            url, place = urldefrag(urljoin(base + name, link))
            if not url.startswith(base):
                continue
            path = unquote(urlparse(url).path).lstrip("/") or "index.html"
            known = visited.get(path)
            if known is None:
                if not (Path(SITE) / path).is_file():
                    dead.append((name, link))
            elif place and unquote(place) not in known["ids"]:
                dead.append((name, link))
    assert dead == []


def test_search_works_without_a_network(tab, address):
    tab.goto(address + "search.html?q=inverse_transform", wait_until="load")
    tab.wait_for_selector("#search-results li a", timeout=20_000)
    titles = tab.locator("#search-results li a").all_inner_texts()
    assert any("inverse_transform" in title or "ReGene" in title for title in titles)


def test_the_menu_opens_on_a_phone(tab, address):
    tab.goto(address + "index.html", wait_until="load")
    tab.locator("button.primary-toggle").click()
    tab.wait_for_timeout(500)
    assert tab.locator("#pst-primary-sidebar-modal, .bd-sidebar-primary").first.is_visible()
