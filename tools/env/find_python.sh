#!/bin/sh
# Print the path of a Python 3.10, 3.11 or 3.12 that can make an environment; fail with a list of
# what was looked at if there is none. PYTHON=/path tries that one only.
#
# A candidate is run, not only found: version managers leave commands on PATH that only print an
# error, and some systems ship Python without venv or ensurepip.
set -u

tried=""

# Succeeds and prints the path if $1 will do; otherwise notes why not in $tried.
try() {
    answer=$("$1" -c '
import sys
version = "%d.%d.%d" % sys.version_info[:3]
if not (3, 10) <= sys.version_info[:2] <= (3, 12):
    sys.exit("is Python " + version)
try:
    import ensurepip, venv
except ImportError as error:
    sys.exit("is Python " + version + " without " + str(error.name) + " (Debian: python3-venv)")
print(sys.executable)
' 2>&1 </dev/null)
    if [ $? -eq 0 ]; then
        printf '%s\n' "$answer"
        return 0
    fi
    case "$answer" in
        "is Python "*) ;;
        *) answer="does not run: $(printf '%s\n' "$answer" | head -n 1)" ;;
    esac
    tried="$tried
  $1 $answer"
    return 1
}

if [ -n "${PYTHON:-}" ]; then
    candidate=$(command -v "$PYTHON") || candidate=$PYTHON
    try "$candidate" && exit 0
else
    # Every folder of PATH: the first python3.11 may be broken and the second not.
    for name in python3.11 python3.12 python3.10 python3 python; do
        old_ifs=$IFS
        IFS=:
        for folder in $PATH; do
            IFS=$old_ifs
            [ -x "$folder/$name" ] && [ ! -d "$folder/$name" ] || continue
            try "$folder/$name" && exit 0
        done
        IFS=$old_ifs
    done
    for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[012].*/bin/python; do
        [ -x "$candidate" ] || continue
        try "$candidate" && exit 0
    done
fi

{
    echo "No usable Python 3.10, 3.11 or 3.12 found. Looked at:${tried:-
  nothing: no python on PATH}"
    echo "Install one with its venv module, or name it: PYTHON=/path/to/python3.11 make env"
} >&2
exit 1
