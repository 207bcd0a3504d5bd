"""Files of tools' inputs."""

from __future__ import annotations

from pathlib import Path

import yaml

__all__ = ["dump_yaml"]


def dump_yaml(path: Path, data: object) -> None:
    """Write YAML, keys in their order, small lists in a line; nothing by reference, which not every reader knows."""

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    path.write_text(yaml.dump(data, Dumper=Plain, sort_keys=False, default_flow_style=None, width=120))
