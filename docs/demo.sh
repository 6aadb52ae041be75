#!/usr/bin/env bash
# The demo of `make demo`: nano, the model that comes with muomni, says what it sees and hears in a picture and a sound that
# are made here, and says it aloud. Then a small model is trained from nothing on two colours and six words that nano does
# not know, scored before and after, exported, and asked again without PyTorch.
# A demo that was interrupted goes on where it stopped. MUOMNI_MODEL names another model than nano to begin with.
set -eo pipefail # not -u: to the bash of macOS an empty list is unset

nano=${MUOMNI_MODEL:-nano}
media=runs/demo-media

step() { printf '\n\033[1m$ %s\033[0m\n' "$*" >&2; "$@"; }
talk() { printf '\n%s\n' "$*" >&2; }

new='Six words and two colours'
changes=()
if ! command -v flite >/dev/null; then
  new='Two colours'
  sounds='{use="sounds",count=1500}'
  changes=("data.audio=[$sounds]" "data.omni.0.from.heard=$sounds")
  talk 'without the program flite, the voice that teaches: the demo hears tones and clicks, not words'
fi

# --- nano -----------------------------------------------------------------------------------------------------------------

step muomni data export demo -o runs/demo-media --source questions --count 24 "${changes[@]}"
step muomni chat -m "$nano" "What do you see and hear?" --image runs/demo-media/4.png --audio runs/demo-media/8.wav --speak runs/demo-media/answer.wav

# What is new to nano, asked of a model.
ask() {
  step muomni chat -m "$1" "What do you see?" --image runs/demo-media/18.png --audio runs/demo-media/6.wav
  step muomni chat -m "$1" "What do you hear?" --image runs/demo-media/18.png --audio runs/demo-media/6.wav
}
# The same questions for all, about pictures and words that no training shows.
score() {
  step muomni eval demo -m "$1" --stage omni --limit 200 data.text=[] data.omni.0.count=0 data.omni.1.count=0 "${changes[@]}"
}

talk "$new of this recipe nano has never met:"
ask "$nano"
score "$nano"

# --- another model, from nothing ------------------------------------------------------------------------------------------

resume=()
[ ! -e runs/demo/recipe.toml ] || resume=(--resume)
step muomni train all demo --jobs 2 "${resume[@]}" "${changes[@]}" # two stages at a time, a core each

ask demo | tee $media/answers.txt
score demo

# --- without PyTorch ------------------------------------------------------------------------------------------------------

rm -rf runs/demo-onnx # that of a demo before
step muomni export --onnx -m demo -o runs/demo-onnx
ask runs/demo-onnx | tee $media/answers-onnx.txt
cmp -s $media/answers.txt $media/answers-onnx.txt || { talk 'through onnxruntime the answers are others'; exit 1; }

cat >&2 <<TEXT

The answers through onnxruntime are those of PyTorch.

runs/demo          the new model: its recipe, tokenizer, checkpoints, metrics
runs/demo-onnx     the same for onnxruntime: no PyTorch, no recipe, a folder to copy
runs/demo-media    pictures and sounds that it was not trained on, what is right of them (examples.jsonl), nano's answer.wav
  muomni chat -m nano                              talk to nano; /image and /audio show and play it something
  muomni eval -m demo --html runs/demo.html        how often the new one is right, as a page to look at and to listen to
  muomni train all demo --run wider thinker.d_model=256 thinker.d_ff=768      change one thing and keep the rest
TEXT
