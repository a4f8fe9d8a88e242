"""What the command line prints: JSON for programs, words for people.

Formats results of `commands/table.py`; computes nothing. Rich is imported where a table is drawn.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Mapping
from typing import Any

import typer


def print_json(document: Any, compact: bool = False) -> None:
    """One JSON document; in ASCII where the terminal, or a file name in it, takes no more."""
    indent = None if compact else 2
    text = json.dumps(document, ensure_ascii=False, indent=indent)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        text = json.dumps(document, indent=indent)
    typer.echo(text)


def say(text: str, **style: Any) -> None:
    """Print text that documents and models had a hand in: no control character of it reaches the terminal."""
    typer.secho("".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc"), **style)


def print_checks(result: Mapping[str, Any]) -> None:
    """The report of `rungs doctor`."""
    for check in result["checks"]:
        say(f"{'ok  ' if check['ok'] else 'FAIL'}  {check['name']}: {check['detail']}")
        if check["fix"]:
            say(f"      to do: {check['fix']}")


def print_answer(result: Mapping[str, Any]) -> None:
    """An answer, its sources, and a dim line of facts."""
    from ui.present import confidence_in_words

    say(result["answer"])
    if result["citations"]:
        typer.echo("")
    for number, citation in enumerate(result["citations"], start=1):
        where = citation["heading"] or citation["title"]
        say(f"  [{number}] {citation['document']}" + (f" - {where}" if where else ""))
    sure = confidence_in_words(result["confidence"])
    by = f"level {result['level']}, {sure}" if result["level"] else result["outcome"].replace("_", " ")
    facts = f"{by}; {result['seconds']:.1f} s; trace {result['trace_id']}; conversation {result['conversation_id']}"
    typer.secho(f"\n{facts}", dim=True)


def print_ingest(result: Mapping[str, Any]) -> None:
    """What an ingest changed; failures go to standard error."""
    counts = ", ".join(f"{result[name]} {name}" for name in ("added", "updated", "unchanged", "removed"))
    typer.echo(f"{counts}; {result['passages']} passages; {result['seconds']:.1f} s")
    for failure in result["failed"]:
        say(f"rungs: {failure['source']}: {failure['reason']}", err=True)


def print_sources(result: Mapping[str, Any]) -> None:
    """The sources."""
    if not result["sources"]:
        typer.echo("Nothing is known yet. Add documents with: rungs ingest PATH")
    for source in result["sources"]:
        counts = f"{source['documents']} documents, {source['passages']} passages"
        say(f"{source['source']}  ({counts}, updated {source['updated_at']})")


def print_removed(result: Mapping[str, Any]) -> None:
    """What was removed."""
    say(f"{result['source']}: {result['removed']} documents removed")


def print_search(result: Mapping[str, Any]) -> None:
    """Passages, shortened."""
    if not result["results"]:
        typer.echo("Nothing found.")
    for number, found in enumerate(result["results"], start=1):
        say(f"{number}. {found['document']}  {found['heading']}  ({found['score']:.4f})", bold=True)
        text = " ".join(found["text"].split())
        say(f"   {text[:300]}{'…' if len(text) > 300 else ''}")


def print_evaluation(result: Mapping[str, Any]) -> None:
    """A table: one line for each level."""
    from rich.console import Console
    from rich.table import Table

    columns = ("n", "correct", "answered", "abstained", "wrong_accepted", "gold_retrieved", "token_f1", "seconds_p50")
    table = Table("level", *columns)
    for level, numbers in result["levels"].items():
        table.add_row(level, *(str(numbers[column]) for column in columns))
    Console().print(table)
    if result["ungraded"]:
        typer.echo(f"{result['ungraded']} rows state no expectation and were not graded.")


def print_calibration(result: Mapping[str, Any]) -> None:
    """What can be promised at each level."""
    for level, numbers in result["levels"].items():
        if numbers["threshold"] is None:
            typer.echo(f"{level}: nothing can be promised (about {numbers['rows_missing']} more right answers needed)")
        elif numbers["rows_missing"]:
            typer.echo(f"{level}: left as it was ({numbers['rows_missing']} more right or wrong answers needed)")
        else:
            share, wrong = f"{numbers['coverage']:.0%}", f"{numbers['wrong_rate']:.1%}"
            typer.echo(
                f"{level}: accept from {numbers['threshold']:.2f}; answers {share}, {wrong} wrong "
                f"(at most {numbers['bound']:.1%}, 95 % sure)"
            )


def print_training(result: Mapping[str, Any]) -> None:
    """What a training, a dry run or a look at the rows came to."""
    if "adapter" in result:
        print_trained(result)
    elif "counts" in result:
        print_preview(result)
    else:
        minutes = max(1, round(result["seconds"] / 60))
        typer.echo(
            f"{result['tokens_per_second']} tokens/s, {result['peak_bytes'] >> 20} MiB: about {minutes} min in all"
        )


def print_trained(result: Mapping[str, Any]) -> None:
    """An adapter that was trained, and what to do with it."""
    loss = f"loss {result['loss_first']:.2f} to {result['loss_last']:.2f}"
    typer.echo(f"{result['adapter']} {result['revision']} is a candidate: {loss} in {result['seconds']:.0f} s")
    if result["gate"]:
        _print_gate(result["gate"])


def print_gated(result: Mapping[str, Any]) -> None:
    """What the gate found about a revision."""
    say(f"{result['name']} {result['revision']}")
    _print_gate(result["report"])


def _print_gate(gate: Mapping[str, Any]) -> None:
    typer.echo(f"gate: {gate['verdict'].replace('_', ' ')}")
    for reason in gate["reasons"]:
        say(f"  {reason}")


def print_preview(result: Mapping[str, Any]) -> None:
    """A training set at a glance."""
    for part, kinds in result["counts"].items():
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
        typer.echo(f"{part:<11} {sum(kinds.values()):>6} rows  ({told or 'none'})")
    lengths = result["lengths"]
    typer.echo(f"tokens      median {lengths['median']}, longest {lengths['longest']}, {result['tokens']} to train on")
    for name in ("left_out", "masked"):
        told = ", ".join(f"{count} {what}" for what, count in result[name].items() if count)
        if told:
            typer.echo(f"{name.replace('_', ' '):<11} {told}")
    if result["seconds"] is not None:
        typer.echo(f"time        about {max(1, round(result['seconds'] / 60))} min")
    for sample in result["samples"]:
        say(f"\n{sample['expect']}: {sample['question'][:200]}\n  -> {sample['answer'][:200]}")
    for warning in result["warnings"]:
        say(f"! {warning}")


def print_adapters(result: Mapping[str, Any]) -> None:
    """Every revision, one line each, and who is served by which."""
    from rich.console import Console
    from rich.table import Table

    if not result["adapters"]:
        typer.echo("There is no adapter yet. Train one with: rungs train --data rows.jsonl --name NAME")
    else:
        table = Table("name", "stage", "made", "loss", "gate")
        table.add_column("revision", no_wrap=True)
        for one in result["adapters"]:
            loss = "" if one["loss_last"] is None else f"{one['loss_first']:.2f} to {one['loss_last']:.2f}"
            gate = (one["gate"] or "not run").replace("_", " ")
            made = one["created_at"][:16].replace("T", " ")
            table.add_row(one["name"], one["stage"], made, loss, gate, one["revision"])
        Console().print(table)
    for site, name in result["sites"].items():
        say(f"{'everybody' if site == 'default' else site} is served by {name}")
    for problem in result["problems"]:
        say(f"! {problem}")


def print_comparison(result: Mapping[str, Any]) -> None:
    """Answers side by side, one below the other."""
    for one in result["answers"]:
        sure = "" if one["logprob_mean"] is None else f", mean log-probability {one['logprob_mean']:.2f}"
        typer.secho(f"{one['side']}  ({one['seconds']:.1f} s{sure})", bold=True)
        say(f"  {one['text'] or '(nothing)'}")


UNCALIBRATED = (
    "The cascade uses it once its confidence is calibrated on questions of yours: rungs calibrate golden.jsonl"
)


def print_decided(result: Mapping[str, Any]) -> None:
    """A revision and the stage that it has now."""
    say(f"{result['name']} {result['revision']} is {'a ' if result['stage'] == 'candidate' else ''}{result['stage']}")
    if result["calibrated"] is False:
        say(UNCALIBRATED)


def print_card(card: Mapping[str, Any]) -> None:
    """A card in words: what it is, what it was made of, what it proved, who decided."""
    settings, lineage = card["settings"], card["lineage"]
    say(f"{card['name']} {card['revision']}  {card['stage']}, made {card['created_at'][:16]}", bold=True)
    say(f"base        {card['base_name']} ({card['base_hash'][:12]})")
    rows = ", ".join(f"{one['name']} {one['rows']} rows ({one['licence']})" for one in lineage["sources"])
    say(f"data        {rows or 'unknown'}")
    say(f"settings    rank {settings['rank']}, alpha {settings['alpha']}, learning rate {settings['learning_rate']}")
    if card["loss_last"] is not None:
        say(f"loss        {card['loss_first']:.3f} to {card['loss_last']:.3f}")
    gate = card["gate"] or card["gate_elsewhere"]
    if gate:
        say(f"gate        {gate['verdict'].replace('_', ' ')}{'' if card['gate'] else ' (found elsewhere)'}")
        for reason in gate["reasons"]:
            say(f"            {reason}")
        for check in gate["checks"]:
            say(f"            {_check_in_words(check)}")
    else:
        say("gate        not run")
    for change in card["history"]:
        why = f": {change['reason']}" if change["reason"] else ""
        say(f"{change['at'][:16]}  {change['stage']} by {change['by']}{why}")


def _check_in_words(check: Mapping[str, Any]) -> str:
    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    interval = f" ({share(check['low'])} to {share(check['high'])})" if check["low"] is not None else ""
    verdict = {True: "passed", False: "FAILED", None: "told"}[check["passed"]]
    sides = f"{share(check['base'])} to {share(check['candidate'])}"
    return f"{check['name']:<22} {sides}, difference {share(check['difference'])}{interval}, n {check['n']}: {verdict}"


def print_corrections(result: Mapping[str, Any]) -> None:
    """What people corrected, with what waits for a reviewer."""
    typer.echo(", ".join(f"{count} {state}" for state, count in result["counts"].items()))
    for one in result["corrections"]:
        print_correction(one)


def print_correction(one: Mapping[str, Any]) -> None:
    """One correction."""
    consent = "" if one["consent"] else ", no consent: it will not be trained on"
    say(f"\n{one['id']}  {one['state']} by {one['reviewed_by'] or one['made_by']}{consent}")
    say(f"  question    {one['question'][:300]}")
    say(f"  draft       {one['draft'][:300] or '(none)'}")
    say(f"  correction  {one['correction'][:300]}  ({one['distance']:.0%} different)")


def print_written(result: Mapping[str, Any]) -> None:
    """Rows that were written."""
    if "file" in result:
        say(f"{result['rows']} rows on {result['questions']} questions in {result['file']}; read them before training")
        return
    say(f"{result['folder']}: " + ", ".join(f"{count} {part}" for part, count in result["rows"].items()))
    for reason, count in result["left_out"].items():
        say(f"  left out: {count} {reason}")


def print_accounts(result: Mapping[str, Any]) -> None:
    """Who there is."""
    for one in result["accounts"]:
        print_account(one)
    if not result["accounts"]:
        typer.echo("nobody: everybody on this machine is the owner. Make one: rungs accounts create-owner NAME")


def print_account(one: Mapping[str, Any]) -> None:
    """One account."""
    say(f"{one['name']:<24} {one['role']:<8} since {one['made_at'][:16]}")


def print_logged_out(result: Mapping[str, Any]) -> None:
    """Sessions that were ended."""
    say(f"{result['name']}: {result['sessions_ended']} sessions ended")


def print_keys(result: Mapping[str, Any]) -> None:
    """Keys without their secrets."""
    for one in result["keys"]:
        say(f"{one['id']}  {one['name']:<32} {', '.join(one['scopes']):<24} by {one['made_by']}, {one['made_at'][:16]}")
    if not result["keys"]:
        typer.echo("no keys. Make one: rungs keys create NAME --scope ask")


def print_key(one: Mapping[str, Any]) -> None:
    """A new key, with its secret."""
    say(f"{one['id']}  {one['name']}: {', '.join(one['scopes'])}")
    typer.echo(f"{one['secret']}\nKeep it now: it is shown this once.")


def print_done(result: Mapping[str, Any]) -> None:
    """Something small that was done."""
    what = next(key for key, value in result.items() if value is True)
    say(f"{result.get('name') or result.get('id')} {what}")


def print_backup(result: Mapping[str, Any]) -> None:
    """A backup that was written."""
    say(f"{result['file']}: {result['bytes'] / 1e6:.1f} MB")
    if result["database"] == "elsewhere":
        typer.echo(
            "The database is not in it: pg_dump is not installed here. Install PostgreSQL's client programs, or run "
            "pg_dump --format=custom where they are."
        )


def print_retention(result: dict[str, Any]) -> None:
    """What went by age, or would go."""
    done = "would be erased" if result["dry_run"] else "erased"
    typer.echo(
        f"{result['conversations']} conversations {done}: nothing was written in them for {result['days']} days."
    )
    if result["corrections"]:
        typer.echo(
            f"{result['corrections']} approved corrections among them: retrain or retire adapters that were trained "
            "on corrections until now (rungs adapters list)."
        )
    if not result["dry_run"] and not result["wiped"]:
        typer.echo("Their last traces on the disk are overwritten with the next erasure; the database was busy.")
