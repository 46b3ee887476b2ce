#!/bin/sh
# Run every test several times in a row, and print a line for each run: its exit code, its seconds, how it ended.
# repeat.sh [TIMES]; exit code 1 where a run failed. What each printed is kept in a folder that is named at the end.
cd "$(dirname "$0")/.." || exit 2
times=${1:-10}
kept=$(mktemp -d)
worst=0
run=1
trap 'echo "Stopped. What the runs printed: $kept"; exit 130' INT TERM
printf ' run  exit  seconds  result\n'
while [ "$run" -le "$times" ]; do
  began=$(date +%s)
  make --no-print-directory test >"$kept/$run.txt" 2>&1
  code=$?
  printf '%4d  %4d  %7d  %s\n' "$run" "$code" "$(($(date +%s) - began))" "$(grep -E '(passed|failed|error).* in [0-9.]+s' "$kept/$run.txt" | tail -n 1)"
  if [ "$code" -ne 0 ]; then
    worst=1
    grep -E '^(FAILED|ERROR) ' "$kept/$run.txt" | cut -c 1-160
  fi
  run=$((run + 1))
done
echo "What the runs printed: $kept"
exit $worst
