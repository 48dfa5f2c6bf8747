"""Look at the built site in headless Chromium: `python docs/browser.py`.

Build the site before. You need a Chromium (Debian's package `chromium`) and `pip install
playwright`. The script stores screenshots of some pages in `docs/_build/screenshots`: on a desktop
and on a phone, light and dark. It exits with 1 if a page is wider than the window, cuts something
off, lacks a picture, shows one too small to read, or logs an error. It also does so if the search
finds nothing, or if a link of any page leads nowhere.
"""

import argparse
import shutil
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

HERE = Path(__file__).parent
PAGES = ["index", "guide/state", "examples/08_forecast", "api/frames"]
WIDTHS = [1400, 390]
MODES = ["light", "dark"]
LEAST_SCALE = 0.6  # of a picture: smaller labels cannot be read

# What sticks out of the window, and lies in no part of the page that scrolls.
CUT_OFF = """[...document.querySelectorAll("article *")].filter(element => {
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height || box.right <= window.innerWidth + 1) return false;
    for (let outer = element.parentElement; outer; outer = outer.parentElement)
        if (["auto", "scroll"].includes(getComputedStyle(outer).overflowX)) return false;
    return true;
}).map(element => element.outerHTML.slice(0, 60))"""

# A picture of the other mode is hidden, and need not be loaded. Thumbnails are small by intention.
PICTURES = """[...document.images].filter(image => image.offsetParent).map(image => [
    image.src, image.naturalWidth,
    image.closest(".sphx-glr-thumbcontainer") ? image.naturalWidth : image.clientWidth])"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--site", type=Path, default=HERE / "_build/html", help="the built site")
    add("--out", type=Path, default=HERE / "_build/screenshots", help="where pictures go")
    add("--pages", nargs="+", default=PAGES, help="pages to look at, without .html")
    add("--chromium", default=shutil.which("chromium"), help="the browser's program")
    arguments = parser.parse_args()
    faults = [*broken_links(arguments.site)]
    with serve(arguments.site) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        faults += look(address, arguments.pages, arguments.out, arguments.chromium)
    print(*faults or ["Every page is as it should be."], sep="\n")
    sys.exit(1 if faults else 0)


# --- In the browser.


def look(address: str, pages: list[str], out: Path, chromium: str | None) -> Iterator[str]:
    """Take the screenshots, and yield what is wrong."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        # Chromium needs a user of its own for its sandbox, which a container may lack.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width in WIDTHS:
            for mode in MODES:
                size = {"width": width, "height": 900}
                context = browser.new_context(viewport=size, color_scheme=mode)
                for name in pages:
                    title = f"{name} at {width} px, {mode}"
                    tab = context.new_page()
                    logged = listen(tab)
                    tab.goto(f"{address}/{name}.html", wait_until="networkidle")
                    picture = out / f"{name.replace('/', '-')}-{width}-{mode}.png"
                    tab.screenshot(path=picture, full_page=True)
                    yield from (f"{title}: {fault}" for fault in [*logged, *measure(tab)])
                    tab.close()
        yield from search(browser.new_page(), address)
        browser.close()


def listen(tab: Any) -> list[str]:
    """Return a list that collects the errors of a tab."""
    logged: list[str] = []
    tab.on("console", lambda line: logged.append(line.text) if line.type == "error" else None)
    tab.on("pageerror", lambda error: logged.append(str(error)))
    tab.on("requestfailed", lambda request: logged.append(f"{request.url} does not load"))
    return logged


def measure(tab: Any) -> Iterator[str]:
    """Yield what is too wide, too small or missing on a page."""
    beyond = tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    if beyond > 0:
        yield f"is {beyond} px too wide"
    yield from (f"cuts off {element}" for element in tab.evaluate(CUT_OFF))
    for source, width, shown in tab.evaluate(PICTURES):
        if not width:
            yield f"the picture {source} is missing"
        elif shown < LEAST_SCALE * width:
            yield f"the picture {source} is shown at {shown / width:.0%} of its size"


def search(tab: Any, address: str, words: str = "SequenceFramer") -> Iterator[str]:
    tab.goto(f"{address}/search.html?q={words}", wait_until="networkidle")
    if not tab.locator("#search-results li a").count():
        yield f"the search finds nothing for {words}"


def serve(site: Path) -> ThreadingHTTPServer:
    """Serve the site to this machine only. Pages that are files may not search."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *message: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


# --- Without a browser.


class Links(HTMLParser):
    """Collects the links of a page, and the places that links may lead to."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if value and name == "id":
                self.anchors.add(value)
            elif value and (tag, name) in (("a", "href"), ("img", "src")):
                self.links.append(value)


def broken_links(site: Path) -> Iterator[str]:
    """Yield the links within a site that lead to no file, or to no place in it."""
    pages = {path.resolve(): Links(path.read_text("utf-8")) for path in site.rglob("*.html")}
    for path, page in pages.items():
        for link in page.links:
            file, anchor = urldefrag(unquote(link))
            if ":" in file:  # of another site
                continue
            target = (path.parent / file).resolve() if file else path
            if not target.exists() or (
                anchor and target in pages and anchor not in pages[target].anchors
            ):
                yield f"{path.relative_to(site.resolve())}: {link} leads nowhere"


if __name__ == "__main__":
    main()
