"""Which way a metric is better, as far as its name tells."""

from __future__ import annotations

import re

LOWER = re.compile(
    r"(loss|error|err|rmse|mse|mae|mape|perplexity|ppl|latency|duration|time|cost|regret|wer|cer|fid|divergence|"
    r"entropy|brier|fpr|fnr|false_positive_rate|false_negative_rate|eer|psi|drift|size|bytes|memory)"
)
HIGHER = re.compile(
    r"(accuracy|acc|f1|fbeta|auc|auroc|auprc|precision|recall|sensitivity|specificity|r2|score|bleu|rouge|meteor|"
    r"map|ndcg|mrr|iou|dice|psnr|ssim|reward|throughput|hit_rate|gain|lift|kappa|mcc|gini|likelihood|tpr|tnr)"
)
WORDS = re.compile(r"[a-z]+\d?|\d+")


def direction_of(key: str) -> str:
    """ "lower", "higher" or "unknown": the last telling word decides (`f1_loss` is a loss, `val/f1` an F1)."""
    folded = re.sub(r"([a-z\d])([A-Z])", r"\1_\2", key).lower()
    for word in reversed(WORDS.findall(folded)):
        if LOWER.fullmatch(word):
            return "lower"
        if HIGHER.fullmatch(word):
            return "higher"
    return "unknown"


def best_of(key: str, values: list[float | None]) -> int | None:
    """The index of the better value; None where the direction is unknown, fewer than two count, or all are equal."""
    direction = direction_of(key)
    known = [(value, index) for index, value in enumerate(values) if value is not None and value == value]
    if direction == "unknown" or len(known) < 2 or len({value for value, _ in known}) == 1:
        return None
    choose = min if direction == "lower" else max
    best = choose(value for value, _ in known)
    return next(index for value, index in known if value == best)
