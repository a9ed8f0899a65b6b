"""Writes the table of configuration keys into the README, from config/schema.yaml."""

import re
import sys
from pathlib import Path

import yaml

from strata.study import key_table

if __name__ == "__main__":
    readme, schema = map(Path, sys.argv[1:])
    table = key_table(yaml.safe_load(schema.read_text(encoding="utf-8")))
    text = readme.read_text(encoding="utf-8")
    pattern = r"^\| key \| takes \| meaning \|\n(\|.*\n)*"
    readme.write_text(re.sub(pattern, lambda _: table, text, flags=re.M), encoding="utf-8")
