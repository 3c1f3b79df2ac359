"""The small invented world of the corpus: animals, objects, places and their fixed facts.

Knows only tables. Every table is a function of its key, so any sentence built from them is a
function of the words in the prompt. All nouns and adjectives begin with a consonant: the article
is always "a".
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Animal:
    """One animal and everything the corpus may say about it."""

    name: str
    colour: str
    food: str
    home: str
    friend: str
    temper: str
    sound: str
    gait: str


@dataclass(frozen=True)
class Thing:
    """One object: what it is made of, what it is good for, and what two friends do with it."""

    name: str
    material: str
    use: str
    deed: str
    noise: str


@dataclass(frozen=True)
class Place:
    """One place: when it is met, where things lie hidden there, where the path leads next."""

    name: str
    time: str
    weather: str
    spot: str
    ending: str
    following: str


_ANIMALS = """
fox|red|berries|den|badger|clever|barks|trotted
bear|brown|honey|cave|rabbit|lazy|growls|wandered
cat|black|fish|cottage|mouse|proud|purrs|crept
dog|white|bones|kennel|sheep|kind|woofs|ran
frog|green|flies|pond|crow|shy|croaks|hopped
goat|grey|thistles|shed|zebra|brave|bleats|climbed
hare|sandy|clover|burrow|tiger|shy|squeaks|raced
mouse|pale|cheese|hole|goat|clever|peeps|tiptoed
pig|pink|turnips|sty|wolf|lazy|grunts|strolled
rabbit|silver|carrots|warren|dog|kind|sniffs|bounced
sheep|woolly|hay|barn|fox|shy|baas|walked
tiger|golden|meat|jungle|pig|brave|roars|prowled
wolf|dark|venison|lair|hare|proud|howls|marched
zebra|striped|leaves|plain|frog|kind|neighs|galloped
badger|dusty|worms|tunnel|bear|brave|snorts|shuffled
crow|shiny|seeds|nest|cat|clever|caws|glided
"""

_THINGS = """
lamp|brass|lighting dark rooms|read an old letter|hissed
kite|paper|riding the wind|race the clouds|fluttered
drum|leather|making music|play a marching song|boomed
boat|wooden|crossing the river|sail to the far shore|creaked
bell|copper|calling people home|wake the sleeping neighbours|rang
rope|hemp|tying knots|build a swing|snapped
key|rusty|opening locked doors|unlock a hidden gate|clicked
map|faded|finding the way|search for buried treasure|rustled
hat|velvet|keeping warm|put on a puppet show|swished
book|heavy|learning new words|study the bright stars|thudded
cup|clay|drinking cool water|share some sweet juice|clinked
clock|tiny|telling the hour|time a running contest|ticked
ladder|tall|reaching high branches|pick the ripe pears|rattled
basket|woven|carrying food|gather nuts for winter|squeaked
"""

_PLACES = """
forest|morning|Mist hung between the trees|hollow log|while the leaves whispered|valley
garden|noon|Bees hummed over the roses|stone bench|while the flowers closed|market
meadow|spring day|Warm sunshine covered the grass|mossy rock|while the crickets sang|forest
harbour|stormy night|Big waves hit the long wall|broken barrel|while the gulls cried|castle
village|winter evening|Snow fell on the quiet roofs|garden gate|while the chimneys smoked|harbour
valley|late afternoon|Long shadows crossed the stream|narrow bridge|while the moon rose|swamp
desert|hot day|Dry wind moved the sand|thorny bush|while the dunes cooled|meadow
market|busy day|People shouted between the stalls|fruit cart|while the traders packed|village
swamp|foggy dawn|Bubbles rose from the mud|rotten stump|while the reeds bent|desert
castle|dark midnight|Torches burned along the hall|marble stair|while the guards slept|garden
"""


def _rows(table: str) -> list[list[str]]:
    return [line.split("|") for line in table.strip().splitlines()]


ANIMALS: dict[str, Animal] = {row[0]: Animal(*row) for row in _rows(_ANIMALS)}
THINGS: dict[str, Thing] = {row[0]: Thing(*row) for row in _rows(_THINGS)}
PLACES: dict[str, Place] = {row[0]: Place(*row) for row in _rows(_PLACES)}

# temper -> (what the finder does with the object, what a friend of this temper says)
TEMPERS: dict[str, tuple[str, str]] = {
    "clever": ("turned it over twice and understood it at once", "explained how it works"),
    "lazy": ("sat down beside it and yawned for a while", "asked for a short nap first"),
    "proud": ("lifted it high so that everyone could see", "promised to show the world"),
    "kind": ("cleaned it gently with a soft cloth", "offered to share the work"),
    "shy": ("hid behind a fern and watched it in silence", "waited quietly to be asked"),
    "brave": ("grabbed it without any fear", "wanted to try it right away"),
}

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
]  # fmt: skip
NAMES = ["Milo", "Clara", "Bruno", "Tessa", "Hugo", "Nora", "Felix", "Greta", "Simon", "Paula"]
JOBS = ["baker", "pilot", "sailor", "teacher", "doctor", "farmer", "painter", "robot"]

# Everything that lists and spelling may use; each is one word of small letters.
WORDS: list[str] = sorted(
    {*ANIMALS, *THINGS, *PLACES}
    | {a.colour for a in ANIMALS.values()}
    | {a.food for a in ANIMALS.values()}
    | {"apple", "stone", "river", "cloud", "bread", "music", "winter", "dragon", "button", "window"}
)
