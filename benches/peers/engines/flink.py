"""How the two Flink programs become a Flink in a Java process: PyPI's jars, and the classes that `run` has built."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

OPTIONS = Path(__file__).resolve().parents[1] / "jvm" / "options"


def become(main, *arguments):
    """Goes on as Java, so that what this process costs is what Flink costs."""
    jars = Path(find_spec("pyflink").submodule_search_locations[0]) / "lib"
    classes = Path(sys.prefix).parent / "jvm/files/classes"
    os.execvp("java", ["java", f"@{OPTIONS}", "-cp", f"{classes}:{jars}/*", main, *map(str, arguments)])
