"""The registry: what is taken in, who goes live and why, the way back, and all of that at the same time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adapters import stages
from adapters.checks import BaseModel
from adapters.errors import AdapterError
from adapters.export import Base, module_shapes
from adapters.registry import Registry
from tests.adapters import hostile
from tests.adapters.samples import ACCEPTED, BASE, REFUSED, SHAPES, adapter, added, card, registry


def test_an_adapter_is_taken_in_as_a_candidate(tmp_path: Path) -> None:
    made = registry(tmp_path).add(adapter(tmp_path / "a"), card())
    assert (made.stage, made.promoted_by, made.history, made.gate) == ("candidate", None, (), None)
    folder = tmp_path / "home" / "adapters" / "support" / made.revision
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "card.json",
    ]
    assert registry(tmp_path).show("support", made.revision) == made
    assert registry(tmp_path).list().cards == (made,)
    assert registry(tmp_path).load("support", made.revision).folder == folder


def test_what_a_trainer_lays_beside_it_stays_behind(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "a")
    (folder / "README.md").write_text("a model card")
    loaded = registry(tmp_path).load("support", registry(tmp_path).add(folder, card()).revision)
    assert not (loaded.folder / "README.md").exists()


def test_the_same_content_is_the_same_revision(tmp_path: Path) -> None:
    first = registry(tmp_path).add(adapter(tmp_path / "a"), card())
    registry(tmp_path).promote("support", first.revision, "Ada", "a first try")
    again = registry(tmp_path).add(adapter(tmp_path / "b"), replace(card(), loss_last=9.0))
    assert (again.revision, again.loss_last, again.stage) == (first.revision, first.loss_last, "live")
    assert added(tmp_path, 2) != first.revision


def test_another_content_under_the_same_revision_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.checks.CheckedAdapter.revision", "0" * 12)
    added(tmp_path, 1)
    with pytest.raises(AdapterError, match="other content"):
        added(tmp_path, 2)


def test_a_folder_from_elsewhere_gets_a_card_of_what_is_known(tmp_path: Path) -> None:
    made = registry(tmp_path).adopt(adapter(tmp_path / "a"), "found")
    assert (made.name, made.settings.rank, made.settings.seed, made.lineage.data_hash) == ("found", 4, None, None)
    assert not made.lineage.sources and not made.accepted


@pytest.mark.parametrize("kind", [kind for number, kind in enumerate(hostile.KINDS) if number % 4 == 0])
def test_a_hostile_folder_leaves_nothing_behind(tmp_path: Path, kind: str) -> None:
    folder = adapter(tmp_path / "a")
    hostile.KINDS[kind][0](folder)
    with pytest.raises(AdapterError):
        registry(tmp_path).add(folder, card())
    with pytest.raises(AdapterError):
        registry(tmp_path).adopt(folder, "support")
    assert {path.name for path in (tmp_path / "home" / "adapters").iterdir()} == {".lock"}
    assert registry(tmp_path).list().cards == ()


def test_an_adapter_of_another_base_model_is_refused(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "a")
    with pytest.raises(AdapterError, match="this deployment runs tiny"):
        registry(tmp_path).add(folder, replace(card(), base_hash="f" * 64))
    wider = BaseModel("wide", BASE.hashes, {module: (out * 2, inner) for module, (out, inner) in SHAPES.items()})
    with pytest.raises(AdapterError, match="another model"):
        Registry(tmp_path / "home", wider).add(folder, card())


def test_a_card_that_tells_other_settings_is_refused(tmp_path: Path) -> None:
    settings = replace(card().settings, rank=8)
    with pytest.raises(AdapterError, match="its card says rank 8"):
        registry(tmp_path).add(adapter(tmp_path / "a"), replace(card(), settings=settings))


def test_an_accepted_revision_is_promoted_without_a_reason(tmp_path: Path) -> None:
    revision = added(tmp_path, gate=ACCEPTED)
    live = registry(tmp_path).promote("support", revision, "Ada")
    assert (live.stage, live.promoted_by, live.reason, live.gate) == ("live", "Ada", None, ACCEPTED)
    assert registry(tmp_path).live() == {"support": revision}
    assert registry(tmp_path).load("support").card == live


@pytest.mark.parametrize("gate", [None, REFUSED])
def test_whoever_promotes_without_the_gate_says_why_on_the_card(tmp_path: Path, gate: object) -> None:
    revision = added(tmp_path, gate=gate)  # type: ignore[arg-type]
    for nothing in (None, "", " \n"):
        with pytest.raises(AdapterError, match="give a reason"):
            registry(tmp_path).promote("support", revision, "Ada", nothing)
    assert registry(tmp_path).live() == {}
    live = registry(tmp_path).promote("support", revision, "Ada", "the  old one\nis worse")
    assert (live.stage, live.reason, live.history[-1].by) == ("live", "the old one is worse", "Ada")


@pytest.mark.parametrize("by", ["", "  ", "x" * 1001])
def test_nobody_decides_without_a_name(tmp_path: Path, by: str) -> None:
    revision = added(tmp_path, gate=ACCEPTED)
    with pytest.raises(AdapterError, match="by has"):
        registry(tmp_path).promote("support", revision, by)


def test_one_revision_of_a_name_is_live_and_names_do_not_disturb_each_other(tmp_path: Path) -> None:
    first, second = added(tmp_path, 1, gate=ACCEPTED), added(tmp_path, 2, gate=ACCEPTED)
    other = added(tmp_path, 1, "site-b", gate=ACCEPTED)
    for name, revision in (("support", first), ("site-b", other), ("support", second)):
        registry(tmp_path).promote(name, revision, "Ada")
    assert registry(tmp_path).live() == {"support": second, "site-b": other}
    assert [one.stage for one in registry(tmp_path).list("support").cards] in (
        ["live", "retired"],
        ["retired", "live"],
    )
    assert registry(tmp_path).show("support", first).reason == f"{second} took its place"


def test_promoting_the_live_one_changes_nothing(tmp_path: Path) -> None:
    revision = added(tmp_path, gate=ACCEPTED)
    once = registry(tmp_path).promote("support", revision, "Ada")
    assert registry(tmp_path).promote("support", revision, "Bob") == once


def test_a_rollback_leads_to_what_was_live_before(tmp_path: Path) -> None:
    one, two, three = (added(tmp_path, seed, gate=ACCEPTED) for seed in (1, 2, 3))
    for revision in (one, two, three):
        registry(tmp_path).promote("support", revision, "Ada")
    back = registry(tmp_path).rollback("support", "Bob", "it invents prices")
    assert (back.revision, back.stage, back.promoted_by) == (two, "live", "Bob")
    gone = registry(tmp_path).show("support", three)
    assert (gone.stage, gone.promoted_by, gone.reason) == ("retired", "Ada", "it invents prices")
    assert registry(tmp_path).rollback("support", "Bob").revision == one
    with pytest.raises(AdapterError, match="was live before"):
        registry(tmp_path).rollback("support", "Bob")
    assert registry(tmp_path).live() == {"support": one}
    with pytest.raises(AdapterError, match="was retired before"):
        registry(tmp_path).promote("support", three, "Ada")
    assert registry(tmp_path).promote("support", three, "Ada", "prices are fixed").stage == "live"


def test_a_retired_revision_is_out_and_no_rollback_leads_to_it(tmp_path: Path) -> None:
    one, two, three = (added(tmp_path, seed, gate=ACCEPTED) for seed in (1, 2, 3))
    for revision in (one, two, three):
        registry(tmp_path).promote("support", revision, "Ada")
    registry(tmp_path).retire("support", two, "Ada", "its data was withdrawn")
    retired = registry(tmp_path).retire("support", three, "Ada", "its data was withdrawn")
    assert retired.stage == "retired" and registry(tmp_path).live() == {}
    with pytest.raises(AdapterError, match="no revision of support is live"):
        registry(tmp_path).load("support")
    assert registry(tmp_path).rollback("support", "Ada").revision == one


def test_a_live_revision_is_not_removed_and_another_one_is_gone_for_good(tmp_path: Path) -> None:
    one, two = added(tmp_path, 1, gate=ACCEPTED), added(tmp_path, 2, gate=ACCEPTED)
    registry(tmp_path).promote("support", one, "Ada")
    registry(tmp_path).promote("support", two, "Ada")
    with pytest.raises(AdapterError, match="is live"):
        registry(tmp_path).remove("support", two)
    registry(tmp_path).remove("support", one)
    assert [made.revision for made in registry(tmp_path).list("support").cards] == [two]
    for gone in (registry(tmp_path).show, registry(tmp_path).load, registry(tmp_path).remove):
        with pytest.raises(AdapterError, match="there is no"):
            gone("support", one)
    with pytest.raises(AdapterError, match="was live before"):
        registry(tmp_path).rollback("support", "Ada")


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors", "card.json"])
@pytest.mark.parametrize("how", ["changed", "cut", "gone", "linked", "added to"])
def test_a_file_that_changed_afterwards_is_noticed_at_every_load(tmp_path: Path, file: str, how: str) -> None:
    one, two = added(tmp_path, 1, gate=ACCEPTED), added(tmp_path, 2, gate=ACCEPTED)
    registry(tmp_path).promote("support", one, "Ada")
    registry(tmp_path).promote("support", two, "Ada")
    path = tmp_path / "home" / "adapters" / "support" / one / file
    raw = path.read_bytes()
    path.unlink()
    if how == "linked":
        (tmp_path / "elsewhere").write_bytes(raw)
        path.symlink_to(tmp_path / "elsewhere")
    elif how == "added to":
        path.write_bytes(raw)
        path.with_name("evil.py").write_text("import os")
    elif how != "gone":
        changed = raw.replace(b'"r": 4', b'"r": 5').replace(b"b", b"c") if b"{" in raw[:1] else raw[:-1] + b"\x3e"
        path.write_bytes(raw[:-1] if how == "cut" else changed)
    if file == "card.json" and how == "cut":
        path.write_bytes(raw[:-3])
    for attempt in (
        lambda: registry(tmp_path).load("support", one),
        lambda: registry(tmp_path).promote("support", one, "Ada", "all the same"),
        lambda: registry(tmp_path).rollback("support", "Ada"),
    ):
        with pytest.raises(AdapterError):
            attempt()
    assert registry(tmp_path).live() == {"support": two}
    assert registry(tmp_path).load("support").card.revision == two


def test_one_damaged_card_hides_no_other(tmp_path: Path) -> None:
    one, two = added(tmp_path, 1), added(tmp_path, 2)
    (tmp_path / "home" / "adapters" / "support" / one / "card.json").write_text("{")
    listing = registry(tmp_path).list()
    assert [made.revision for made in listing.cards] == [two]
    assert len(listing.problems) == 1 and one in listing.problems[0]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"live": "0123456789ab", "before": [], "changes": []}', '{"x": 1}']
)
def test_damaged_stages_are_said_and_not_taken_for_none(tmp_path: Path, content: str) -> None:
    revision = added(tmp_path, gate=ACCEPTED)
    registry(tmp_path).promote("support", revision, "Ada")
    (tmp_path / "home" / "adapters" / "support" / "stages.json").write_text(content)
    for ask in (registry(tmp_path).live, registry(tmp_path).list, lambda: registry(tmp_path).load("support")):
        with pytest.raises(AdapterError, match=r"stages\.json"):
            ask()


def test_names_and_revisions_lead_nowhere_else(tmp_path: Path) -> None:
    revision = added(tmp_path)
    for name in ("..", "../adapters", "support/..", "", "Support", "\u0455upport"):
        for ask in (
            lambda name=name: registry(tmp_path).show(name, revision),
            lambda name=name: registry(tmp_path).load(name),
            lambda name=name: registry(tmp_path).list(name),
            lambda name=name: registry(tmp_path).promote(name, revision, "Ada", "x"),
            lambda name=name: registry(tmp_path).rollback(name, "Ada"),
            lambda name=name: registry(tmp_path).remove(name, revision),
            lambda name=name: registry(tmp_path).adopt(tmp_path / "trained-support-1", name),
            lambda name=name: registry(tmp_path).add(tmp_path / "trained-support-1", card(name)),
        ):
            with pytest.raises(AdapterError, match="no name"):
                ask()
    for wrong in ("..", "", "x" * 12):
        for act in (registry(tmp_path).show, registry(tmp_path).load, registry(tmp_path).remove):
            with pytest.raises(AdapterError, match="no revision"):
                act("support", wrong)


def test_the_history_of_a_name_stays_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "CHANGES_MAX", 20)
    state = stages.Stages()
    state = stages.retire(state, "c" * 12, stages.Decision("Ada", "t"))
    for number in range(200):
        state = stages.promote(state, ("a" if number % 2 else "b") * 12, stages.Decision("Ada", "t"))
    assert len(state.changes) <= 21 and len(state.before) == stages.BEFORE_MAX
    assert (state.of("c" * 12), state.of("a" * 12), state.of("b" * 12)) == ("retired", "live", "retired")
    assert stages.parse_stages(stages.dump_stages(state), "it") == state


def test_a_base_model_is_told_by_its_gguf_file(tmp_path: Path) -> None:
    shapes = {"attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32)}
    shapes |= {"ffn_gate": (48, 32), "ffn_up": (48, 32), "ffn_down": (32, 48)}
    stored = {f"blk.{block}.{name}.weight": shape for block in range(2) for name, shape in shapes.items()}
    assert module_shapes(Base("llama", 2, 4, 2, stored)) == SHAPES
    with pytest.raises(AdapterError, match="has no"):
        module_shapes(Base("llama", 3, 4, 2, stored))
