"""Stories as functions of (animal, object, place): the long deterministic texts of the corpus.

Knows the story templates; does not know prompts, chat format or tokens.
"""

from .facts import ANIMALS, PLACES, TEMPERS, THINGS


def short_story(animal: str, thing: str, place: str) -> str:
    """One chapter of about 130 tokens; every word follows from the three factors."""
    a, o, p = ANIMALS[animal], THINGS[thing], PLACES[place]
    friend = ANIMALS[a.friend]
    finds, _ = TEMPERS[a.temper]
    _, says = TEMPERS[friend.temper]
    return (
        f"One {p.time} a {a.colour} {a.name} {a.gait} through the {p.name}. {p.weather}. "
        f"The {a.name} was {a.temper} and it looked for {a.food}. "
        f"Behind a {p.spot} it found a {o.material} {o.name}. The {o.name} {o.noise} softly. "
        f"The {a.name} {finds}. Soon the {friend.colour} {friend.name} arrived, and it {says}. "
        f'"A {o.name} is good for {o.use}," said the {friend.name}. '
        f"So the two friends used the {o.name} to {o.deed}. "
        f"Then the {a.name} carried the {o.name} home to its {a.home} {p.ending}."
    )


def sequel(animal: str, thing: str, place: str) -> str:
    """The second chapter of about 100 tokens: the friend takes the object to the next place."""
    a, o = ANIMALS[animal], THINGS[thing]
    friend, p = ANIMALS[a.friend], PLACES[PLACES[place].following]
    finds, _ = TEMPERS[friend.temper]
    return (
        f"The next {p.time} the {friend.name} borrowed the {o.name} and {friend.gait} to "
        f"the {p.name}. {p.weather}. It wanted {friend.food}, but it lost the {o.material} "
        f"{o.name} behind a {p.spot}. "
        f"The {a.name} heard how the {friend.name} {friend.sound} and came to help. "
        f"When the {o.name} {o.noise} again, the {friend.name} {finds}. "
        f"They shared {a.food} and {friend.food} {p.ending}."
    )


def long_story(animal: str, thing: str, place: str) -> str:
    """Both chapters, well past two sliding windows of 64 tokens."""
    return f"{short_story(animal, thing, place)} {sequel(animal, thing, place)} The end."


def portrait(animal: str) -> str:
    """All facts about one animal."""
    a = ANIMALS[animal]
    return (
        f"The {a.name} is {a.colour} and {a.temper}. It eats {a.food} and lives in a {a.home}. "
        f"It {a.sound} when it meets its friend, the {a.friend}."
    )


def comparison(first: str, second: str) -> str:
    """Two animals side by side."""
    a, b = ANIMALS[first], ANIMALS[second]
    return (
        f"The {a.name} is {a.colour}, but the {b.name} is {b.colour}. "
        f"The {a.name} eats {a.food}, but the {b.name} eats {b.food}. "
        f"The {a.name} lives in a {a.home}, but the {b.name} lives in a {b.home}. "
        f"The {a.name} {a.sound}, but the {b.name} {b.sound}. "
        f"The friend of the {a.name} is the {a.friend}, "
        f"but the friend of the {b.name} is the {b.friend}."
    )
