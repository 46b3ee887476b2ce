#!/bin/sh
# install-torch.sh PYTHON: torch by its hash. The CPU build where pip finds one (in PyTorch's own index, or a folder), else the
# package index's build, with what that asks for. A file with another hash is refused.
set -eu
python=$1
here=$(dirname "$0")

install() {
    "$python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$here/$1"
}

if said=$(install torch-cpu.txt 2>&1); then
    exit 0
fi
case $said in
    *"No matching distribution found for torch"*) ;;
    *) echo "$said" >&2; exit 1 ;;
esac
install torch.txt
if "$python" -c 'import importlib.metadata as m, sys; sys.exit("nvidia" not in str(m.requires("torch")))'; then
    install cuda.txt
fi
