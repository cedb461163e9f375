"""How ``huaxiang user`` prints a person's card on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.session import show_table
from report.card import RFM, rfm, tree_rows
from report.words import Vocabulary
from schemas.tag_roles import no_tag_has

if TYPE_CHECKING:
    from project.folder import Project
    from queries.user import Card


def show_card(project: Project, card: Card) -> None:
    """Tags by group, RFM, stages, tree, overrides, ids; empty parts are left out."""
    words = Vocabulary(project.catalogue)
    kind = "member" if card.is_member else "visitor"
    print(f"{card.user_id} (uid {card.uid}), {kind}, at {card.as_of} (release {card.release})")
    scores = [f"{t.en} {t.value_en or '-'}" for t in rfm(project, card)]
    if scores:
        print("RFM: " + "; ".join(scores))
    for role in project.catalogue.without(RFM):
        said = no_tag_has(role)
        print(f"{said.zh} / {said.en}")
    for group in card.groups:
        rows: list[dict[str, Any]] = [
            {"tag": t.id, "zh": t.zh, "值": t.value_zh, "en": t.en, "value": t.value_en} for t in group.tags
        ]
        show_table(" / ".join(group.path), rows)
    if card.held_by:
        held = sorted({h for names in card.held_by.values() for h in names})
        print(
            f"由被冻结的标签计算而来，为旧值 / Older values, made from held tags ({', '.join(held)}): {', '.join(card.held_by)}"
        )
    if card.history:
        stays = [(s, words.tag(s.tag), words.value(s.tag, s.value)) for s in card.history]
        show_table(
            "阶段历史 / Stage history",
            [
                {"scheme": s.tag, "zh": name.zh, "值": v.zh, "value": v.en, "from": s.from_day, "until": s.until_day}
                for s, name, v in stays
            ],
        )
    if card.tree is not None:
        pairs = tree_rows(card.tree, words)
        show_table("裂变位置 / Share tree", [{"zh": k.zh, "en": k.en, "value": v.en} for k, v in pairs])
    if card.overrides:
        show_table(
            "人工与申报值 / By hand and declared",
            [
                {"tag": o.tag, "origin": o.origin, "value": o.value, "author": o.author, "from": o.from_day, "until": o.until_day}
                for o in card.overrides
            ],
        )  # fmt: skip
    ids = [{"kind": i.kind, "value": i.value, "from": i.from_day, "until": i.until_day} for i in card.identifiers]
    show_table("Ids", ids)
    for contact in card.contacts:
        print(", ".join(f"{k}: {v}" for k, v in contact.items() if v is not None))
