"""The browser that set-up brings draws Kazakh letters and WebGL, which the map needs."""

from __future__ import annotations

from playwright.sync_api import Browser

WIDTHS = """() => {
  const context = document.createElement('canvas').getContext('2d');
  context.font = '40px sans-serif';
  return [...'ҚғөҢұһ'].map(letter => context.measureText(letter).width);
}"""
MISSING = """() => {
  const context = document.createElement('canvas').getContext('2d');
  context.font = '40px sans-serif';
  const draw = letter => {
    context.clearRect(0, 0, 99, 99);
    context.fillText(letter, 9, 60);
    return context.getImageData(0, 0, 99, 99).data.join();
  };
  const absent = draw('\\u{10FFFD}');
  return [...'ҚғөҢұһ'].filter(letter => draw(letter) === absent);
}"""


def test_it_draws_kazakh_letters(browser: Browser) -> None:
    page = browser.new_page()
    assert page.evaluate(MISSING) == []
    assert all(width > 0 for width in page.evaluate(WIDTHS))
    page.close()


def test_it_has_webgl(browser: Browser) -> None:
    page = browser.new_page()
    assert page.evaluate("!!document.createElement('canvas').getContext('webgl2')")
    page.close()
