#!/usr/bin/env bash
# The demo of `make demo`: trains a small Thinker on text that muomni makes itself, looks at it, and asks it things.
# A demo that was interrupted goes on where it stopped.
set -euo pipefail

step() { printf '\n\033[1m$ %s\033[0m\n' "$*" >&2; "$@"; }
ask() { step muomni chat -m demo "$1"; }

resume=()
[ ! -e runs/demo ] || resume=(--resume)

step muomni data check tales
step muomni train all tales --run demo "${resume[@]}"
step muomni runs plot demo
ask "What is the opposite of hot?"
ask "Which day comes after Friday?"
ask "I see a grey cup, a pink wheel, a silver knife. Which thing is pink?"
step muomni runs show demo

cat >&2 <<'TEXT'

runs/demo          the model: its recipe, tokenizer, checkpoints, metrics and samples
  muomni chat -m demo                        talk to it
  muomni recipes show tales --resolved       everything that made it, explained
  muomni train all tales --run wider thinker.d_model=256 thinker.d_ff=1024      change one thing and keep the rest
TEXT
