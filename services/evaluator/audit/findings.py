"""What an audit found, as sentences, worst first; what several classes share is said once."""

from typing import Any, Final

from services.evaluator.audit.cue_findings import find_in_shortcuts
from services.evaluator.audit.wording import join_words, list_by_class, percent
from services.evaluator.metrics.confidence import wilson_interval

Finding = dict[str, Any]
Classes = dict[str, dict[str, Any]]

_SEVERITIES: Final = ("problem", "notice", "fine")
_ALMOST_ABSENT: Final = 0.25
_RARE: Final = 0.5
_LEAST_SHARE: Final = 0.1
"""A plane counts as wanting where it makes up a tenth of the reference or more."""

_NARROW: Final = 0.8
_FEWEST_OF_COVERAGE: Final = 50
"""Fewest images on a side whose coverages are compared. Of two sets drawn alike, chance alone calls the first narrow in
34 % of cases with 5 images each, in 9 % with 30, in 5 % with 50 and in none with 100 (500 draws from a normal
distribution of 32 dimensions, 300 reference points)."""
_LARGE_LOSS: Final = 0.05


def list_findings(classes: Classes, usefulness: dict[str, Any] | None) -> list[Finding]:
    """[{"check", "class" (None: of several classes), "severity" (problem, notice, fine), "sentence"}].

    Args:
        classes: by class, results under "memorisation", "shortcuts" and "diversity", each possibly absent or None.
        usefulness: result of `summarise_usefulness`, or None.
    """
    found: list[Finding] = []
    by_check = {
        check: {name: results[check] for name, results in classes.items() if results.get(check)}
        for check in ("memorisation", "shortcuts", "diversity")
    }
    if by_check["memorisation"]:
        found += _find_copies(by_check["memorisation"])
    if by_check["shortcuts"]:
        found += find_in_shortcuts(by_check["shortcuts"])
    if by_check["diversity"]:
        found += _find_in_diversity(by_check["diversity"])
    if usefulness:
        found += _find_in_usefulness(usefulness)
    return sorted(found, key=lambda finding: _SEVERITIES.index(finding["severity"]))


def _finding(check: str, classes: list[str], severity: str, sentence: str) -> Finding:
    return {"check": check, "class": classes[0] if len(classes) == 1 else None, "severity": severity,
            "sentence": sentence}  # fmt: skip


def _find_copies(classes: Classes) -> list[Finding]:
    found = [_say_copies(name, results) for name, results in classes.items() if results["copies"]]
    clean = {name: results for name, results in classes.items() if not results["copies"]}
    least = next(iter(classes.values()))["thresholds"]
    if clean:
        n = sum(results["summary"]["n"] for results in clean.values())
        entries = [entry for results in clean.values() for entry in results["nearest"]]
        closest = max(entries, key=lambda entry: float(entry["edge_correlation"]))
        sentence = (
            f"No memorised copies: none of {n:,} synthetic images of {join_words(list(clean))} copies a reference "
            f"image. The closest, {closest['name']}, agrees with {closest['nearest']} to {closest['correlation']:.2f} "
            f"in gray levels and {closest['edge_correlation']:.2f} in details; a copy has {least['correlation']:.2f} "
            f"and {least['edge_correlation']:.2f} or more (1 is identity)."
        )
        found.append(_finding("memorisation", list(clean), "fine", sentence))
    leaks = {name: r["baseline"] for name, r in classes.items() if r["baseline"] and r["baseline"]["n_above"]}
    if leaks:
        n_above, n = (sum(usual[key] for usual in leaks.values()) for key in ("n_above", "n"))
        shares = {name: percent(usual["share_above"]) for name, usual in leaks.items()}
        sentence = (
            f"The real set itself repeats images: {n_above:,} of {n:,} fresh real images are copies of reference "
            f"images by the same measure, {list_by_class(shares)}. What is trained on the reference has seen them."
        )
        found.append(_finding("memorisation", list(leaks), "notice", sentence))
    return found


def _say_copies(name: str, results: dict[str, Any]) -> Finding:
    copies, n = results["copies"], results["summary"]["n"]
    worst = copies[0]
    turned = f", turned by {abs(worst['angle_deg']):.0f} degrees" if abs(worst["angle_deg"]) >= 1 else ""
    number = "1 image is a copy" if len(copies) == 1 else f"{len(copies)} images are copies"
    sentence = (
        f"Of {n:,} synthetic images of {name}, {number} of reference images: {worst['name']} is {worst['nearest']}"
        f"{', mirrored' if worst['mirrored'] else ''}{turned} (correlation {worst['correlation']:.3f} in gray levels, "
        f"{worst['edge_correlation']:.3f} in details). Exclude them from the set."
    )
    return _finding("memorisation", [name], "problem", sentence)


def _find_in_diversity(classes: Classes) -> list[Finding]:
    found = []
    for name, results in classes.items():
        repeats, planes, coverage = results["duplicates"], results["planes"], results["coverage"]
        if repeats["n_surplus"]:
            sentence = (
                f"{repeats['n_images']} of {repeats['n']:,} synthetic images of {name} repeat each other, in "
                f"{repeats['n_groups']} group{'s' if repeats['n_groups'] > 1 else ''}: {repeats['n_surplus']} of them "
                "add nothing."
            )
            severity = "problem" if repeats["n_surplus"] >= _LEAST_SHARE * repeats["n"] else "notice"
            found.append(_finding("diversity", [name], severity, sentence))
        for plane in planes["reference"] if planes else ():
            found += _say_plane(name, planes, plane)
        if coverage and _is_narrow(coverage):
            sentence = (
                f"The synthetic images of {name} are less varied than real ones: {coverage['n_baseline']} of them lie "
                f"close to {percent(coverage['synthetic_of_as_many'])} of the reference images, as many fresh real "
                f"images to {percent(coverage['baseline'])} (coverage, k = {coverage['k']})."
            )
            found.append(_finding("diversity", [name], "notice", sentence))
    clean = [name for name, results in classes.items() if not results["duplicates"]["n_surplus"]]
    if clean:
        n = sum(classes[name]["duplicates"]["n"] for name in clean)
        sentence = f"No synthetic image repeats another among {n:,} of {join_words(clean)}."
        found.append(_finding("diversity", clean, "fine", sentence))
    return found


def _is_narrow(coverage: dict[str, Any]) -> bool:
    """Whether the synthetic images cover less of the reference than as many fresh real ones, beyond chance."""
    if coverage["baseline"] is None or coverage["n_baseline"] < _FEWEST_OF_COVERAGE:
        return False
    return bool(coverage["synthetic_of_as_many"] < _NARROW * coverage["baseline"])


def _say_plane(name: str, planes: dict[str, Any], plane: str) -> list[Finding]:
    """A plane that is wanting, where the upper end of the 95 % interval of its share says so too."""
    mine, theirs = planes["synthetic"][plane], planes["reference"][plane]
    _, most = wilson_interval(planes["n_synthetic"][plane], sum(planes["n_synthetic"].values()))
    if theirs < _LEAST_SHARE or most >= _RARE * theirs:
        return []
    absent = most < _ALMOST_ABSENT * theirs
    trust = f"; the rule that tells planes is right for {percent(planes['accuracy']['share'])} of real images" if (
        planes["accuracy"]) else ""  # fmt: skip
    sentence = (
        f"{plane.capitalize()} images are {'almost absent' if absent else 'rare'} among synthetic images of {name}: "
        f"{percent(mine)} against {percent(theirs)} of the reference ({planes['n_synthetic'][plane]} images{trust})."
    )
    return [_finding("diversity", [name], "problem" if absent else "notice", sentence)]


def _find_in_usefulness(usefulness: dict[str, Any]) -> list[Finding]:
    mine, real, gap = usefulness["synthetic"], usefulness["real"], usefulness["difference"]
    if not mine:
        return []
    low, high = mine["interval"]
    sentence = (
        f"A small network trained on {mine['n_train']:,} synthetic images tells the class of "
        f"{percent(mine['accuracy'])} of {mine['n_test']:,} real images right "
        f"(95 % interval {percent(low)} to {percent(high)})"
    )
    severity = "fine"
    if real and gap:
        points, (least, most) = 100 * gap["accuracy"], (100 * end for end in gap["interval"])
        sentence += (
            f"; trained on {real['n_train']:,} real images, {percent(real['accuracy'])} "
            f"({percent(real['interval'][0])} to {percent(real['interval'][1])}). "
            f"The difference is {points:.1f} percentage points ({least:.1f} to "
            f"{most:.1f})"
        )
        severity = "problem" if least > 100 * _LARGE_LOSS else "notice" if least > 0 else "fine"
    return [_finding("usefulness", [], severity, f"{sentence}.")]
