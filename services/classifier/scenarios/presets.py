"""The study's scenarios as data (study, sections 5.2 and 6).

Every scenario begins with its real-only composition, to which the report compares the others. The counts are the
study's; a set with fewer images raises `NotEnoughImages`, never a silently smaller run.
"""

from services.classifier.scenarios.composition import STUDY_ROW_ORDER, Composition, Count, FineTuning
from shared.errors import InvalidInput
from shared.tumour import TumourClass

STUDY_SEEDS = (33, 66, 99)
STUDY_REAL = {
    TumourClass.GLIOMA: 867,
    TumourClass.MENINGIOMA: 802,
    TumourClass.PITUITARY: 721,
    TumourClass.NOTUMOR: 817,
}
"""Training images of the study (section 1.2)."""
SHARES = (0.113, 0.25, 0.5)
"""Scenarios 2 and 3 add floor(real x share) synthetic images (section 5.2)."""
MINI_REAL_PER_CLASS = 18
MINI_ADDED_PER_CLASS = (18, 36, 72, 162)
"""The mini experiments start at 72 real images and add as many per class (section 6)."""


class UnknownScenario(InvalidInput):
    """No scenario has this name."""


def scenario_compositions(scenario: str) -> list[Composition]:
    """The compositions of `1` to `6`, `mini-real`, `mini-mixed`, or `all` (1 to 6, the real-only one once).

    Raises:
        UnknownScenario: names the valid ones.
    """
    if scenario == "all":
        added = [composition for name in "123456" for composition in SCENARIOS[name][1:]]
        return [INITIAL, *added]
    if scenario not in SCENARIOS:
        names = ", ".join([*SCENARIOS, "all"])
        raise UnknownScenario(
            f"There is no scenario {scenario[:40]!r}; choose one of {names}.", valid=[*SCENARIOS, "all"]
        )
    return list(SCENARIOS[scenario])


def _with_synthetic(name: str, added: dict[TumourClass, int]) -> Composition:
    return Composition(name, {k: Count(real=n, synthetic=added.get(k, 0)) for k, n in STUDY_REAL.items()})


def _mini(real_per_class: int, synthetic_per_class: int) -> Composition:
    n_real, n_synthetic = 4 * real_per_class, 4 * synthetic_per_class
    name = f"{n_real} real" + (f" + {n_synthetic} synthetic" if n_synthetic else "")
    return Composition(name, {k: Count(real_per_class, synthetic_per_class) for k in STUDY_ROW_ORDER})


INITIAL = _with_synthetic("Initial", {})
GLIOMA_REAL, MENINGIOMA_REAL = STUDY_REAL[TumourClass.GLIOMA], STUDY_REAL[TumourClass.MENINGIOMA]
# Three epochs after five (study, section 5.2).
FINE_TUNED = FineTuning(real_share=0.5, synthetic=dict.fromkeys(STUDY_ROW_ORDER, 600), epochs_share=0.6)
# The study published no fine-tuning on real images alone (section 7.3); without it the other cannot be judged.
FINE_TUNED_CONTROL = FineTuning(real_share=0.5, synthetic={}, epochs_share=0.6)

SCENARIOS: dict[str, list[Composition]] = {
    "1": [INITIAL, _with_synthetic("1 balanced", {k: GLIOMA_REAL - n for k, n in STUDY_REAL.items()})],
    "2": [
        INITIAL,
        *(
            _with_synthetic(f"2.{k}", {TumourClass.MENINGIOMA: int(MENINGIOMA_REAL * share)})
            for k, share in enumerate(SHARES, start=1)
        ),
    ],
    "3": [
        INITIAL,
        *(
            _with_synthetic(
                f"3.{k}",
                {
                    TumourClass.GLIOMA: int(GLIOMA_REAL * share),
                    TumourClass.MENINGIOMA: int(MENINGIOMA_REAL * share),
                },
            )
            for k, share in enumerate(SHARES, start=1)
        ),
    ],
    "4": [
        INITIAL,
        *(_with_synthetic(f"4.{k}", dict.fromkeys(STUDY_ROW_ORDER, n)) for k, n in enumerate((200, 400, 600), start=1)),
    ],
    "5": [
        INITIAL,
        Composition("5 fine-tuned", INITIAL.counts, FINE_TUNED),
        Composition("5 fine-tuned, real only", INITIAL.counts, FINE_TUNED_CONTROL),
    ],
    "6": [
        INITIAL,
        Composition("6 synthetic only", {k: Count(real=0, synthetic=600) for k in STUDY_ROW_ORDER}),
    ],
    "mini-real": [_mini(MINI_REAL_PER_CLASS + n, 0) for n in (0, *MINI_ADDED_PER_CLASS)],
    "mini-mixed": [_mini(MINI_REAL_PER_CLASS, n) for n in (0, *MINI_ADDED_PER_CLASS)],
}
