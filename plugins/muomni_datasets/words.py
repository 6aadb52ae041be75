"""The words that the tales are made of, and two rules of English. Every place is one to be *in*."""

# ruff: noqa: SIM905 (lists of words read better, and are easier to add to, as text)
from __future__ import annotations

NAMES = {
    "girl": (
        "Anna Bella Clara Daisy Ella Fay Grace Hanna Ida Julia Kate Lily Mia Nora Olive Penny Rosa Sara Tess Uma Vera "
        "Wendy Yara Zoe Amy Betty Cora Dora Emma Gina"
    ).split(),
    "boy": (
        "Adam Ben Carl Dan Eli Finn Gus Henry Ivan Jack Karl Leo Max Ned Oscar Paul Ray Sam Tom Victor Will Alan Bob "
        "Dean Fred Hugo Jim Luke Mark Noah"
    ).split(),
}
ANIMALS = (
    "cat dog fox hen duck goat horse mouse rabbit sheep cow pig frog bear owl crow deer donkey goose hare hedgehog "
    "kitten lamb lion mole monkey otter pony puppy robin snail sparrow squirrel swan tiger toad turtle wolf wren zebra"
).split()
COLOURS = "red blue green yellow white black brown pink grey orange purple golden silver".split()
SIZES = "big small little tiny large tall short round old new".split()
THINGS = (
    "ball kite hat cup spoon book doll drum bell coat shoe key box bag rope lamp basket blanket bottle boat bowl broom "
    "brush bucket button cake candle card chair clock coin crown feather flag flute glove hammer horn jar kettle knife "
    "ladder leaf letter mat mirror nest needle paper pen pencil pillow plate pot ribbon ring saddle scarf shell shirt "
    "sock stick stone string toy umbrella wagon wheel whistle"
).split()
FOODS = (
    "apple pear plum cherry berry bun pie egg nut carrot bean potato onion peach melon lemon biscuit pancake fig grape"
).split()
PLACES = (
    "garden kitchen forest river market field barn school lake park village house cave castle meadow mill orchard shop "
    "stable tower town valley well yard attic cellar hall library palace tent"
).split()
FEELINGS = "happy sad tired hungry cold angry afraid proud lonely thirsty sleepy glad worried bored calm".split()
WEATHER = "sunny rainy windy snowy foggy cloudy stormy frosty warm cold".split()
JOBS = (
    "baker farmer tailor miller teacher sailor doctor gardener painter shepherd weaver hunter fisherman carpenter cook"
).split()
OPPOSITES = (
    "big:small hot:cold up:down day:night fast:slow open:shut full:empty old:young wet:dry hard:soft light:dark "
    "happy:sad long:short high:low early:late loud:quiet clean:dirty rich:poor thick:thin near:far strong:weak "
    "first:last good:bad left:right inside:outside above:below push:pull give:take win:lose come:go laugh:cry"
).split()
NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
SOUNDS = (
    "cat:meow dog:woof cow:moo duck:quack sheep:baa pig:oink frog:croak hen:cluck owl:hoot lion:roar mouse:squeak "
    "horse:neigh crow:caw wolf:howl donkey:hee-haw goose:honk"
).split()
KINDS = {
    "fruit": "apple pear plum cherry peach melon lemon grape fig".split(),
    "animal": "cat dog fox goat horse mouse rabbit cow bear wolf".split(),
    "tool": "hammer broom brush needle knife ladder bucket rope".split(),
    "thing to wear": "hat coat shoe glove scarf shirt sock".split(),
    "place": "garden forest market school castle meadow village".split(),
}
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


def with_article(noun: str) -> str:
    """``a`` or ``an`` before the noun (or what describes it)."""
    return f"an {noun}" if noun[0] in "aeio" or noun.startswith("um") else f"a {noun}"


def plural(noun: str) -> str:
    """The plural of a noun of these lists."""
    irregular = {
        "mouse": "mice", "goose": "geese", "sheep": "sheep", "deer": "deer", "wolf": "wolves", "leaf": "leaves",
        "knife": "knives",
    }  # fmt: skip
    if noun in irregular:
        return irregular[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "sh", "ch", "potato")) else "s")
