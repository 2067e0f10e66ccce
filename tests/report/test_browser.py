"""The page in Chromium, without a network: the charts are drawn, and nothing is wider than a phone."""

import re
import shutil
import subprocess

import pytest

from scenariogen.report import write_report
from tests.report.folders import crossing_delays, drawn_batch, results_folder, square_network

PROBE = """<body style="margin:0"><iframe id="f" src="page.html" style="width:{width}px;height:900px;border:0"></iframe>
<p id="found"></p><script>
window.addEventListener("load", () => {{
  const inside = document.getElementById("f").contentDocument;
  const drawn = inside.querySelectorAll(".chart .main-svg").length;
  const width = inside.documentElement.scrollWidth;
  inside.querySelectorAll(".switch button")[1].click();
  const pressed = inside.querySelectorAll(".switch button")[1].getAttribute("aria-pressed");
  document.getElementById("found").textContent = `drawn ${{drawn}} width ${{width}} pressed ${{pressed}}`;
}});
</script></body>"""


@pytest.mark.parametrize("width", [390, 1200])
def test_charts_are_drawn_and_fit(tmp_path, width):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    batch = drawn_batch(180)
    folder = results_folder(tmp_path / "results", batch, crossing_delays(batch))
    write_report(folder, tmp_path / "page.html", network=square_network())
    (tmp_path / "probe.html").write_text(PROBE.format(width=width), encoding="utf-8")
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--allow-file-access-from-files", "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=8000",
         f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1280,1000", "--dump-dom",
         (tmp_path / "probe.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.search(r"drawn (\d+) width (\d+) pressed (\w+)", done.stdout)
    assert found is not None, done.stdout[:2000] + done.stderr[-2000:]
    assert int(found[1]) >= 3 and int(found[2]) <= width and found[3] == "true"
