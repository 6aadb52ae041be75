#!/usr/bin/env bash
# The demo of `make demo`: trains a small model that reads, sees, hears and speaks on data that muomni makes itself, asks
# it about a picture and a sound, lets it speak, exports it, and asks and lets it speak again without PyTorch.
# A demo that was interrupted goes on where it stopped.
set -eo pipefail # not -u: to the bash of macOS an empty list is unset

media=runs/demo-media
trained=$(mktemp -d) # a file for each stage that is through
other=''             # the process group that trains beside this one

leave() {
  if [ -n "$other" ] && kill -TERM -- "-$other" 2>/dev/null; then wait "$other" || true; fi
  rm -rf "$trained"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step() { printf '\n\033[1m$ %s\033[0m\n' "$*" >&2; "$@"; }
talk() { printf '\n%s\n' "$*" >&2; }

speaks=yes
changes=()
if ! command -v flite >/dev/null; then
  speaks=''
  sounds='{use="sounds",count=1500}'
  changes=("data.audio=[$sounds]" "data.omni.0.from.heard=$sounds" 'data.speech=[]')
  talk 'without the program flite, the voice that teaches: the demo hears tones and clicks, not words, and does not speak'
fi

resume=()
[ ! -e runs/demo/recipe.toml ] || resume=(--resume)
train() {
  step muomni train "$1" demo "${resume[@]}" "${changes[@]}"
  touch "$trained/$1"
}
# Waits for a stage that process $2 trains; fails if that is gone without it.
await() { until [ -e "$trained/$1" ]; do kill -0 "$2" 2>/dev/null || [ -e "$trained/$1" ] || return 1; sleep 1; done; }

# Two processes, a core each, train what does not rest on each other.
beside() {
  train audio
  [ -n "$speaks" ] || return 0
  train codec
  await thinker "$$"
  train talker
}
failed() {
  other=''
  tail -n 3 runs/demo-beside.log >&2
  exit 1
}

train tokenizer
resume=(--resume)
set -m # in a process group of its own: Ctrl-C reaches it through leave, and once
beside </dev/null >runs/demo-beside.log 2>&1 &
other=$!
set +m
talk "beside it, what hears${speaks:+ and what speaks} is trained; how far it is: tail -f runs/demo-beside.log"
train thinker
train image
await audio "$other" || failed
train omni
[ -z "$speaks" ] || talk 'waiting for the voice'
wait "$other" || failed
other=''

step muomni data write demo -o runs/demo-media --source questions --count 16 "${changes[@]}"

# The same questions to the run and to what is exported.
ask() {
  step muomni chat -m "$1" "What is the opposite of hot?"
  step muomni chat -m "$1" "What do you see?" --image runs/demo-media/4.png --audio runs/demo-media/4.wav
  step muomni chat -m "$1" "What do you hear?" --image runs/demo-media/4.png --audio runs/demo-media/2.wav
  step muomni chat -m "$1" "What do you see?" --image runs/demo-media/14.png --audio runs/demo-media/2.wav
}
say() {
  [ -n "$speaks" ] || return 0
  step muomni tts -m "$1" "turn left at the red square" -o "$2"
}

ask runs/demo | tee $media/answers.txt
say runs/demo $media/said.wav

step muomni export --onnx -m demo -o runs/demo-onnx

ask runs/demo-onnx | tee $media/answers-onnx.txt
say runs/demo-onnx $media/said-onnx.wav
cmp -s $media/answers.txt $media/answers-onnx.txt || { talk 'through onnxruntime the answers are others'; exit 1; }

cat >&2 <<TEXT

The answers through onnxruntime are those of PyTorch.

runs/demo          the model: its recipe, tokenizer, checkpoints, metrics
runs/demo-onnx     the same for onnxruntime: no PyTorch, no recipe, a folder to copy
runs/demo-media    pictures and sounds that it was not trained on, what is right of them (examples.jsonl)${speaks:+, what it said}
  muomni chat -m runs/demo-onnx                    talk to it; /image and /audio show and play it something
  muomni eval demo                                 how often it is right, stage by stage
  muomni runs plot demo                            how it learned
  muomni trace -m demo --image $media/4.png        every step of an answer, with the shapes
  muomni recipes show demo --resolved              everything that made it, explained
  muomni train all demo --run wider thinker.d_model=256 thinker.d_ff=768      change one thing and keep the rest
TEXT
[ -z "$speaks" ] || cat >&2 <<'TEXT'
  muomni tts -m demo "seven four two" --play
TEXT
