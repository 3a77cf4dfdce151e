#!/usr/bin/env python3
"""Takes pictures of a report in a real browser: three sizes, light and dark. For people to look at.

usage: screens.py REPORT.html FOLDER
"""

import pathlib
import subprocess
import sys
import tempfile

SIZES = {"phone": (390, 2400), "laptop": (1280, 2000), "wide": (1920, 1900)}


def take(page: pathlib.Path, folder: pathlib.Path) -> list[pathlib.Path]:
    """One picture for each size and scheme."""
    taken = []
    for name, (width, height) in SIZES.items():
        for scheme in ("light", "dark"):
            picture = folder / f"{name}-{scheme}.png"
            with tempfile.TemporaryDirectory() as profile:
                # Blink's names of preferred schemes: 0 dark, 1 light.
                setting = f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"
                subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                                f"--user-data-dir={profile}", f"--window-size={width},{height}", setting,
                                f"--screenshot={picture}", page.resolve().as_uri()],
                               check=True, capture_output=True, timeout=60)
            taken.append(picture)
    return taken


if __name__ == "__main__":
    for path in take(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])):
        print(path)
