"""Collections of recorded games: read back, put beside each other deal by deal, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from scoundrel_ray.evaluation.deals import by_deal, differences, mean_scores, own_scores, win_rate
from scoundrel_ray.evaluation.intervals import mean
from scoundrel_ray.game import Game
from scoundrel_ray.playing.record import GameRecord, InvalidRecord, load_all, proved
from scoundrel_ray.storage.durable import save_picture


class Collection:
    """The games of one player, against one opponent if the game has several seats.

    Attributes:
        name: of player and opponent; with the file's where two files have another player of one name.
        scores: [P, P] of each whole deal (see `evaluation.deals`), by its seed and opening.

    Raises:
        InvalidRecord: if no deal was played from every seat.
    """

    def __init__(self, name: str, game: Game, records: Sequence[GameRecord]) -> None:
        self.name = name
        self.scores = by_deal(game, records)
        if not self.scores:
            raise InvalidRecord(f"{name}: no deal was played from every seat, wanted at least one")

    def array(self) -> np.ndarray:
        """Scores of all deals: [D, P, P] float64."""
        return np.stack(list(self.scores.values()))

    def less(self, other: Collection) -> np.ndarray:
        """Own score less the other's, in the mean over the seats, on the deals that both played: [n] float64."""
        common = [deal for deal in self.scores if deal in other.scores]
        if not common:
            return np.zeros(0)
        own, others = (np.stack([each.scores[deal] for deal in common]) for each in (self, other))
        return mean_scores(own) - mean_scores(others)


def collections(paths: Sequence[Path]) -> tuple[Game, list[Collection]]:
    """The players of all files, in order; a player whose settings are the same in several files is one.

    Raises:
        InvalidRecord: for a file that holds no finished games, games of another kind than the first one's, no whole
            deal of a player, or a game that does not replay (the first and last of every player are tried).
    """
    games: dict[tuple[str, str], list[tuple[Path, GameRecord]]] = {}
    kind = None
    for path in paths:
        for number, record in enumerate(load_all(path), 1):
            if not record.scores:
                raise InvalidRecord(f"{path}, line {number}: a game without an end, wanted a finished one")
            kind = kind or record.game
            if record.game != kind:
                raise InvalidRecord(
                    f"{path}, line {number}: a game of {dict(record.game)}, wanted {dict(kind)} as in {paths[0]}"
                )
            games.setdefault((_title(record), repr(record.settings)), []).append((path, record))
    game = None
    for each in games.values():
        for path, record in (each[0], each[-1]):
            game = proved(str(path), record)
    assert game is not None
    for path, record in (each for own in games.values() for each in own):
        if len(record.scores) != game.seats:
            raise InvalidRecord(f"{path}: a game with {len(record.scores)} scores, wanted {game.seats}")
    titles = [title for title, _ in games]
    found: list[Collection] = []
    for (title, _), each in games.items():
        path = each[0][0]
        name = title if titles.count(title) == 1 else f"{title} ({path.absolute().parent.name}/{path.stem})"
        number = sum(other.name == name or other.name.startswith(f"{name} #") for other in found)
        found.append(Collection(f"{name} #{number + 1}" if number else name, game, [record for _, record in each]))
    return game, found


def _title(record: GameRecord) -> str:
    own = record.players[record.seat]
    others = sorted(set(record.players) - {own})
    return f"{own} against {', '.join(others)}" if others else own


def compare(console: Console, game: Game, found: Sequence[Collection]) -> list[dict[str, Any]]:
    """Print every collection's results, and its difference from the first on the deals that both played.

    Returns:
        The same as plain data.
    """
    several = game.seats > 1
    columns = ["player", "games", "win rate [95 %]", "score [95 %]", "median"]
    columns += ["less opponents' [95 %]"] if several else []
    table = Table(*columns, f"less {found[0].name}'s [95 %]", "common", title=game.name)
    rows = []
    for each in found:
        scores = each.array()
        own = own_scores(scores)
        wins, score = win_rate(game, scores), mean(mean_scores(scores))
        ahead = mean(differences(scores)) if several else None
        paired = each.less(found[0])
        difference = mean(paired)
        apart = each is not found[0] and len(paired)
        table.add_row(
            each.name,
            str(np.isfinite(own).sum()),
            f"{wins.value:6.1%}  [{wins.low:.1%}, {wins.high:.1%}]",
            f"{score.value:8.2f}  [{score.low:.2f}, {score.high:.2f}]",
            f"{np.nanmedian(own):g}",
            *([ahead.signed()] if ahead else []),
            difference.signed() if apart else "",
            str(len(paired)) if each is not found[0] else "",
        )
        rows.append(
            {
                "player": each.name,
                "games": int(np.isfinite(own).sum()),
                "deals": len(scores),
                "win_rate": asdict(wins),
                "score": asdict(score),
                "median": float(np.nanmedian(own)),
                "ahead": asdict(ahead) if ahead else None,
                "difference": asdict(difference) if apart else None,
                "deals_in_common": len(paired),
            }
        )
    console.print(table)
    return rows


def draw(game: Game, found: Sequence[Collection], path: Path) -> None:
    """Save a histogram of scores and a box plot, and the paired differences from the first collection, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(18, 2.5 + 0.5 * len(found)), layout="constrained")
    scores = [own[np.isfinite(own)] for own in (own_scores(each.array()) for each in found)]
    low, high = min(map(np.min, scores)), max(map(np.max, scores))
    bins = np.linspace(low - 0.5, high + 0.5, min(60, int(high - low) + 2))
    for each, own in zip(found, scores, strict=True):
        axes[0].hist(own, bins, histtype="step", density=True, label=each.name)
    axes[0].legend(fontsize=8)
    axes[0].set_xlabel("score")
    axes[0].set_ylabel("share of games a point")
    axes[1].boxplot(scores, orientation="horizontal", tick_labels=[each.name for each in found], showmeans=True)
    axes[1].invert_yaxis()
    axes[1].set_xlabel("score (box: quartiles, triangle: mean)")
    for row, each in enumerate(found[1:], 1):
        estimate = mean(each.less(found[0]))
        if np.isfinite(estimate.low):
            error = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
            axes[2].errorbar([estimate.value], [row], xerr=error, fmt="o", capsize=4, color="tab:blue")
    axes[2].axvline(0, color="gray", linewidth=1)
    axes[2].set_yticks(range(1, len(found)), [each.name for each in found[1:]])
    axes[2].invert_yaxis()
    axes[2].set_xlabel(f"score less {found[0].name}'s, deal by deal (95 % interval)")
    figure.suptitle(game.name)
    save_picture(figure, path)
