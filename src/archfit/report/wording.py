"""Numbers as people read them, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archfit.cost import Budget, Cost, Latency, format_count

BOUND_NAMES = {"latency": "latency", "memory": "memory", "params": "parameters", "madds": "MAdds"}


def percent(share: float | None, digits: int = 1) -> str:
    """0.9124 -> "91.2 %"; None -> "–"."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def accuracy_with_error(accuracy: float, standard_error: float) -> str:
    """Two standard errors beside the accuracy: (0.912, 0.007) -> "91.2 ± 1.4 %"."""
    return f"{100 * accuracy:.1f} ± {200 * standard_error:.1f} %"


def milliseconds(value: float | None) -> str:
    """3 significant digits: 0.27149 -> "0.271 ms"."""
    return "–" if value is None else f"{_measured(value)} ms"


def latency_range(latency: Latency | None) -> str:
    """As in "0.271 ms (0.265–0.290)": p50 (p10-p90)."""
    if latency is None:
        return "not measured"
    return f"{milliseconds(latency.p50_ms)} ({_measured(latency.p10_ms)}–{_measured(latency.p90_ms)})"


def clock_note(latency: Latency | None) -> str | None:
    """What the clock showed, where the machine was not about as fast as at its first measurement."""
    if latency is None or 0.95 <= latency.scaled <= 1.05:
        return None
    return (
        f"the clock showed {milliseconds(latency.p50_ms / latency.scaled)}, as the machine was {latency.scaled:.2f} "
        "times as fast as when archfit first measured here"
    )


def megabytes(size: float | None) -> str:
    """Bytes in units of 10^6 or 10^3: 4200000 -> "4.2 MB"."""
    if size is None:
        return "–"
    return f"{_significant(size / 1e6)} MB" if size >= 1e6 else f"{_significant(size / 1e3)} kB"


def count(value: float | None) -> str:
    """1234567 -> "1.23M"."""
    return "–" if value is None else format_count(value)


def duration(seconds: float | None) -> str:
    """Two units at most: 3725 -> "1 h 2 min"."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def epochs_in_words(epochs: float | Sequence[float]) -> str:
    """Of proxy training: 3 -> "3 epochs", [1, 3, 9] -> "1 epoch, the best on to 3 and 9"."""
    first, *further = [epochs] if isinstance(epochs, int | float) else list(epochs)
    words = f"{first:g} epoch{'' if first == 1 else 's'}"
    return f"{words}, the best on to {' and '.join(f'{each:g}' for each in further)}" if further else words


def parity_sentence(same: int, images: int, difference: float) -> str:
    """How the exported network agrees with the module it came from."""
    return (
        f"The exported ONNX network gives the same top-1 answer as PyTorch on {same} of {images} test images; "
        f"logits differ by at most {difference:.2g}."
    )


@dataclass(frozen=True)
class Verdict:
    """One bound of the budget and how the network stands to it.

    Attributes:
        name: A key of `Budget.ratios`.
        bound: As people read it, as in "0.3 ms".
        holds: None where the cost was not determined.
        text: As in "9.5 % under the budget of 0.3 ms".
    """

    name: str
    bound: str
    holds: bool | None
    text: str


def budget_verdicts(cost: Cost, budget: Budget) -> tuple[Verdict, ...]:
    """A verdict for each bound that is set, in the order latency, memory, parameters, MAdds."""
    ratios = budget.ratios(cost)
    bounds = {
        "latency": f"{budget.latency_ms:g} ms" if budget.latency_ms is not None else "",
        "memory": megabytes(budget.memory_bytes),
        "params": count(budget.params),
        "madds": count(budget.madds),
    }
    return tuple(_verdict(name, bounds[name], ratios.get(name), cost.latency) for name in budget.names())


def _verdict(name: str, bound: str, ratio: float | None, latency: Latency | None) -> Verdict:
    if ratio is None:
        return Verdict(name, bound, None, f"not measured, so not comparable with the budget of {bound}")
    gap = abs(ratio - 1)
    # One more digit where a tenth of a percent would round the gap away.
    size = f"{100 * gap:.1f} %" if gap >= 0.0005 else f"{100 * gap:.2f} %"
    if ratio == 1:
        text = f"exactly the budget of {bound}"
    else:
        text = f"{size} {'under' if ratio < 1 else 'over'} the budget of {bound}"
    if name == "latency" and latency is not None and gap < latency.spread:
        text += f", closer than the measurement is sure (spread {percent(latency.spread)})"
    return Verdict(name, bound, ratio <= 1, text)


def _measured(value: float) -> str:
    """3 significant digits with their zeros: 0.4 -> "0.400", 123.4 -> "123"."""
    return f"{value:#.3g}".rstrip(".") if value < 99.95 else f"{value:.0f}"


def _significant(value: float) -> str:
    """3 significant digits without an exponent: 1234.5 -> "1234", 0.2714 -> "0.271", 4.0 -> "4"."""
    if abs(value) >= 999.5:
        return f"{value:.0f}"
    return f"{value:.3g}"
