"""Read YAML that may come from a stranger: plain values only, and of a bounded size."""

import os
from typing import Any

import yaml

# Values of one file, those behind each use of an alias counted again: the largest config of the
# model zoo has 400, a thousand classes with ids and colours 7,000.
MOST_VALUES = 100_000
LARGEST_FILE = 10_000_000  # bytes


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """Read a YAML file (UTF-8) of mappings, lists, texts, numbers, truth values and nulls.

    Tags that make Python objects are rejected, so nothing of the file is executed.

    Raises:
        ValueError: not valid YAML, another tag, or too large once its aliases are followed; the
            message names the file and the line.
        OSError: the file cannot be read.
    """
    if (size := os.path.getsize(path)) > LARGEST_FILE:
        raise ValueError(f"{path}: {size} bytes; a YAML file has {LARGEST_FILE} at most")
    try:
        with open(path, encoding="utf-8-sig") as file:
            return yaml.load(file, _BoundedLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{path}: {line}{_explain(error)}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    except RecursionError:
        raise ValueError(f"{path}: lists or mappings are nested too deeply") from None


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem)
    if (
        isinstance(error, yaml.constructor.ConstructorError)
        and "constructor for the tag" in problem
    ):
        tag = problem.rpartition("the tag ")[2].strip("'")
        tag = tag.replace("tag:yaml.org,2002:", "!!")
        return f"the tag {tag} is not allowed: a config holds plain values and runs no code"
    return f"not valid YAML ({problem})"


class _BoundedLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which measures a file before it makes values of it."""

    def get_single_node(self) -> yaml.Node | None:
        """Reject aliases that unfold into too much, or into themselves."""
        node: yaml.Node | None = super().get_single_node()
        if node is not None and (count := _count_values(node, {})) > MOST_VALUES:
            raise yaml.composer.ComposerError(
                None,
                None,
                f"its aliases unfold into {count:.3g} values; allowed: {MOST_VALUES}",
                node.start_mark,
            )
        return node


def _count_values(node: yaml.Node, counted: dict[yaml.Node, int]) -> int:
    """Count the values below a node; `counted` has 0 for those that are being counted."""
    if node not in counted:
        counted[node] = 0
        children = [] if isinstance(node, yaml.ScalarNode) else node.value
        if isinstance(node, yaml.MappingNode):
            children = [part for pair in children for part in pair]
        counted[node] = 1 + sum(_count_values(child, counted) for child in children)
    elif not counted[node]:
        raise yaml.composer.ComposerError(None, None, "an alias holds itself", node.start_mark)
    return counted[node]
