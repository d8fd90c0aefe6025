"""The audit report in a real browser: nothing breaks, nothing is loaded, and it fits a phone."""

import shutil

import pytest
from sklearn.linear_model import LogisticRegression

from skinvert import InputOptimizationGenerator
from skinvert.report import audit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, of the system or of playwright's own."""
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
def path(digits, tmp_path_factory):
    X, y = digits
    path = tmp_path_factory.mktemp("report") / "report.html"
    classifier, judge = (LogisticRegression(max_iter=200).fit(X[k::2], y[k::2]) for k in (0, 1))
    audit(
        classifier,
        X[1::2],
        y[1::2],
        path=path,
        judge=judge,
        methods={"drawn": InputOptimizationGenerator(prior_weight=0.1)},
        n_images=10,
        title="A classifier with a rather long name, of ten handwritten digits",
        device="cpu",
    )
    return path


@pytest.fixture(params=[(1280, 900), (375, 812), (320, 568)], ids=["desktop", "phone", "narrow"])
def opened(request, browser, path):
    """The page at one width, with all that it complained of and asked for."""
    width, height = request.param
    page = browser.new_page(viewport={"width": width, "height": height})
    page.complaints, page.asked = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(path.as_uri())
    yield page
    page.close()


def test_nothing_breaks_and_nothing_is_loaded(opened, path):
    assert opened.complaints == []
    assert [url for url in opened.asked if not url.startswith("data:")] == [path.as_uri()]


def test_all_pictures_are_there_and_the_page_is_no_wider_than_the_screen(opened):
    widths = opened.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(widths) > 100
    assert min(widths) > 0
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_first_tab_skips_to_the_findings(opened):
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.textContent") == "Skip to the findings"
    opened.keyboard.press("Enter")
    assert opened.evaluate("document.activeElement.id") == "main"


def test_parameters_open_by_keyboard(opened):
    opened.locator("summary").first.focus()
    opened.keyboard.press("Enter")
    assert opened.evaluate("document.querySelector('details').open")


def test_words_stand_out_from_their_ground(opened):
    """WCAG 2.2, success criterion 1.4.3: a contrast of at least 4.5, for all text."""
    worst = opened.evaluate("""() => {
        const light = value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        const luminance = colour => {
            const [r, g, b] = colour.match(/[0-9.]+/g).map(part => light(part / 255));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ground = element => {
            const colour = getComputedStyle(element).backgroundColor;
            const clear = colour === 'rgba(0, 0, 0, 0)' && element.parentElement;
            return clear ? ground(element.parentElement) : colour;
        };
        const contrast = element => {
            const pair = [getComputedStyle(element).color, ground(element)].map(luminance);
            return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
        };
        const worded = [...document.body.querySelectorAll('*')].filter(element =>
            [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
        return Math.min(...worded.map(contrast));
    }""")
    assert worst >= 4.5
