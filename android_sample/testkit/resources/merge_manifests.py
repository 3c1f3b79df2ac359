"""Merges the main and the debug manifest as the Android Gradle plugin does, as far as this sample needs it.

Usage: merge_manifests.py MAIN DEBUG      (the result goes to stdout)
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET

PACKAGE = "com.example.mtpchat"
"""The namespace in ``app/build.gradle.kts``; aapt2 alone wants it in the manifest."""


def main() -> None:
    """Append the children of the debug manifest to the main one; both are our own, so S314 is moot."""
    ET.register_namespace("android", "http://schemas.android.com/apk/res/android")
    main_path, debug_path = sys.argv[1:]
    merged = ET.parse(main_path)  # noqa: S314
    root = merged.getroot()
    root.set("package", PACKAGE)
    root.extend(ET.parse(debug_path).getroot())  # noqa: S314
    merged.write(sys.stdout, encoding="unicode", xml_declaration=True)


if __name__ == "__main__":
    main()
