"""The command line: parses, then calls the Python API.

Each command imports what it runs when it is called: `outgrow --help` starts at once, and a command needs no
extra but its own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from outgrow.errors import OutgrowError

if TYPE_CHECKING:
    from outgrow.job.record import Outcome
    from outgrow.job.tuning_record import SearchOutcome

INTERNAL_ERROR, USER_ERROR = 1, 2
"""Exit codes: a bug of outgrow, a mistake of its user."""

_PATH_MISTAKES = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)

app = typer.Typer(
    name="outgrow",
    help="Train, score and inspect models on one machine or on Apache Spark.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Engine = Annotated[
    str, typer.Option(help="local, processes[4], or a Spark: local[2], spark://host:7077, sc://host:15002.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]
Type = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="NAME=TYPE", help="Read a column of text as this, like zip=text."),
]
NaValue = Annotated[
    list[str] | None, typer.Option("--na-value", help="A cell of CSV that is missing, besides the empty one.")
]
Encoding = Annotated[str | None, typer.Option(help="Of text, like latin-1; UTF-8 if not given.")]
Sep = Annotated[str | None, typer.Option(help="What divides the cells of CSV.")]
Decimal = Annotated[str, typer.Option(help="What stands before fractions in CSV: . or ,")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the whole trace of an error.")]


@app.command("run")
def _run(
    job: Annotated[str, typer.Argument(metavar="JOB.yaml", help="The job file.")],
    engine: Engine = "local",
    sample: Annotated[float | None, typer.Option(help="Work on this share of the rows, like 0.01.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value, like model.C=0.1.")
    ] = None,
    overwrite: Overwrite = False,
    checkpoint: Annotated[
        str | None, typer.Option(help="Folder from which a fit goes on when its run was killed.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Train, evaluate, save and score as a job file says, and write a report."""
    from outgrow.job.engines import open_engine
    from outgrow.job.load import load_job
    from outgrow.job.run import check_output, run_job

    settings = [*(set_ or []), *([] if sample is None else [f"sample={sample}"])]
    _let_import_beside(job)
    loaded = load_job(job, settings)
    check_output(loaded, overwrite=overwrite)
    with _progress():
        outcome = run_job(loaded, open_engine(engine, checkpoint), overwrite=overwrite)
    _show_outcome(outcome)


@app.command("profile")
def _profile(
    data: Annotated[
        str, typer.Argument(help="A file, folder or pattern of Parquet, CSV, JSON lines or Arrow files.")
    ],
    output: Annotated[str | None, typer.Option("-o", "--output", help="Write an HTML page here.")] = None,
    target: Annotated[
        str | None,
        typer.Option(help="A column that the others are seen beside: what goes with it, and leaks it."),
    ] = None,
    compare: Annotated[
        str | None, typer.Option(help="Other files, whose columns are shown side by side with these.")
    ] = None,
    type_: Type = None,
    na_value: NaValue = None,
    encoding: Encoding = None,
    sep: Sep = None,
    decimal: Decimal = ".",
    engine: Engine = "local",
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Say what the columns of some files hold."""
    from outgrow.engine.reading import read
    from outgrow.job.engines import open_engine
    from outgrow.job.screen import profile_findings, profile_table
    from outgrow.job.writing import write_text

    options = _reading(type_, na_value, encoding, sep, decimal)
    rows = read(data, engine=open_engine(engine), **options)
    columns = rows.profile(target)
    other = None
    if compare is not None:
        other = compare, read(compare, engine=open_engine(engine), **options).profile()
    findings = columns.findings if other is None else (*columns.findings, *columns.compare(other[1]).findings)
    _console().print(profile_table(columns), profile_findings(findings))
    if output is not None:
        from outgrow.job.report import profile_report

        page = profile_report(columns, data, rows.fingerprint(), other)
        write_text(output, page, overwrite=overwrite)
        _say(f"Written: {output}")


@app.command("score")
def _score(
    model: Annotated[str, typer.Argument(help="A folder that a run or model.save() wrote.")],
    data: Annotated[
        str, typer.Argument(help="A file, folder or pattern of rows to predict; - for standard input.")
    ],
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="The folder of Parquet files to write.")
    ] = None,
    engine: Engine = "local",
    keep: Annotated[
        list[str] | None, typer.Option(help="A column to keep beside the predictions; all if not given.")
    ] = None,
    proba: Annotated[bool, typer.Option("--proba", help="Write the probability of each class too.")] = False,
    errors: Annotated[
        str | None, typer.Option(help="A folder for rows that cannot be scored; else one ends the run.")
    ] = None,
    partition_by: Annotated[
        list[str] | None, typer.Option(help="A column that becomes folders NAME=VALUE.")
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Go on with files as they appear, until it is stopped.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="With --stream: end when the files that are there are done.")
    ] = False,
    checkpoint: Annotated[
        str | None, typer.Option(help="With --stream on Spark: the folder for what was read.")
    ] = None,
    type_: Type = None,
    na_value: NaValue = None,
    encoding: Encoding = None,
    sep: Sep = None,
    decimal: Decimal = ".",
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Write the predictions of a saved model for rows in files, or for rows as they come."""
    if data == "-":
        from outgrow.serve.pipe import score_pipe

        score_pipe(model, sys.stdin.buffer, sys.stdout.buffer, probabilities=proba)
        return
    if output is None:
        raise typer.BadParameter("the folder to write is missing.", param_hint="-o")
    reading = _reading(type_, na_value, encoding, sep, decimal)
    if stream:
        from outgrow.job.streams import run_stream

        options = {"keep": keep, "probabilities": proba, "errors": errors, "read_options": reading}
        run_stream(model, data, output, engine, once=once, checkpoint=checkpoint, say=_say, **options)
        return
    from outgrow.engine.reading import read
    from outgrow.job.engines import open_engine
    from outgrow.job.stages import Stages
    from outgrow.ml.persistence import load
    from outgrow.serve import batch

    fitted = load(model)
    rows = read(data, engine=open_engine(engine), **reading)
    with _progress(), Stages()("score") as stage:
        done = batch.score(
            fitted,
            rows,
            output,
            keep=keep,
            probabilities=proba,
            errors=errors,
            partition_by=partition_by or (),
            overwrite=overwrite,
        )
        stage.rows = done.rows
    if done.resumed:
        _say(f"Taken over from a run that was stopped: {done.resumed:,} pieces")
    _say(f"Written: {output} ({done.rows:,} rows)")
    if errors is not None:
        _say(f"Written: {errors} ({done.refused:,} rows that could not be scored)")


@app.command("tune")
def _tune(
    job: Annotated[str, typer.Argument(metavar="JOB.yaml", help="A job file with a section tune.")],
    engine: Engine = "local",
    trials: Annotated[int | None, typer.Option(help="End after so many trials in all.")] = None,
    seconds: Annotated[float | None, typer.Option(help="End after so long.")] = None,
    sampler: Annotated[str | None, typer.Option(help="tpe, random, grid, cmaes, evolutionary.")] = None,
    pruner: Annotated[str | None, typer.Option(help="none, median, asha, hyperband.")] = None,
    workers: Annotated[int | None, typer.Option(help="How many trials run at once.")] = None,
    within: Annotated[
        str, typer.Option(help="workers, fused, or engine: one trial at a time over the whole engine.")
    ] = "auto",
    sample: Annotated[float | None, typer.Option(help="Work on this share of the rows, like 0.01.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the file.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew, and forget the trials that were done.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Search for the settings with which a job does best; goes on where it was stopped."""
    from outgrow.job.engines import open_engine
    from outgrow.job.load import load_job
    from outgrow.job.tuning import tune_job
    from outgrow.job.tuning_screen import show_search

    given = {"trials": trials, "seconds": seconds, "sampler": sampler, "pruner": pruner, "workers": workers}
    settings = [
        *(set_ or []),
        *[f"tune.{name}={value}" for name, value in given.items() if value is not None],
    ]
    settings += [] if sample is None else [f"sample={sample}"]
    _let_import_beside(job)
    loaded = load_job(job, settings)
    spec = loaded.job.tune
    with show_search(_console(stderr=True), spec) as note:
        outcome = tune_job(loaded, open_engine(engine), within=within, overwrite=overwrite, callback=note)
    _show_search(outcome)


@app.command("serve")
def _serve(
    path: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A saved model, or a folder of its versions.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PATH", help="A model under a name; may be repeated.")
    ] = None,
    models: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Models loaded when first asked for, by folder name.")
    ] = None,
    loaded: Annotated[int, typer.Option(help="How many models of --models stay in memory.")] = 100,
    host: Annotated[str, typer.Option(help="The address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(help="How many processes serve.")] = 1,
    max_batch: Annotated[int, typer.Option(help="Most rows in a batch.")] = 256,
    max_wait: Annotated[str, typer.Option(help="How long a request waits for others at most.")] = "2ms",
    max_queue: Annotated[int, typer.Option(help="Most rows that may wait; past it, 429.")] = 4096,
    max_body: Annotated[str, typer.Option(help="Most bytes of a request; past it, 413.")] = "64MiB",
    timeout: Annotated[str, typer.Option(help="How long a request may take.")] = "30s",
    canary: Annotated[
        list[str] | None, typer.Option(metavar="[NAME=]PATH@PERCENT", help="Answers a share of the requests.")
    ] = None,
    shadow: Annotated[
        list[str] | None, typer.Option(metavar="[NAME=]PATH", help="Is asked as well, and never answers.")
    ] = None,
    log: Annotated[str | None, typer.Option(help="Folder for a log of rows and predictions.")] = None,
    log_fraction: Annotated[float, typer.Option(help="The share of requests that is logged.")] = 1.0,
    access_log: Annotated[bool, typer.Option("--access-log", help="Print each request as JSON.")] = False,
    token_file: Annotated[str | None, typer.Option(help="File with the bearer token to ask for.")] = None,
    tls_cert: Annotated[str | None, typer.Option(help="File with the certificate.")] = None,
    tls_key: Annotated[str | None, typer.Option(help="File with its key.")] = None,
    cache: Annotated[int, typer.Option(help="Rows whose answers are remembered.")] = 0,
    debug: Debug = False,
) -> None:
    """Answer requests for predictions over HTTP."""
    from outgrow.serve.http.arguments import settings_of, token_of
    from outgrow.serve.http.server import serve as run_server

    settings = settings_of(
        path,
        model or (),
        canary or (),
        shadow or (),
        folder=models,
        loaded=loaded,
        workers=workers,
        max_batch=max_batch,
        max_wait=max_wait,
        max_queue=max_queue,
        max_body=max_body,
        timeout=timeout,
        log=log,
        log_fraction=log_fraction,
        access_log=access_log,
        token=token_of(token_file),
        cached_rows=cache,
    )
    scheme = "http" if tls_cert is None else "https"
    _say(f"Serving {', '.join(settings.models) or models} at {scheme}://{host}:{port} (try it at /docs)")
    run_server(settings, host=host, port=port, tls_cert=tls_cert, tls_key=tls_key)


@app.command("promote")
def _promote(
    store: Annotated[str, typer.Argument(help="A folder of versions; made if it is not there.")],
    model: Annotated[str, typer.Argument(help="A saved model to add, or the number of a version.")],
    debug: Debug = False,
) -> None:
    """Make a version of a model the current one: servers and streams that follow it take it up."""
    from outgrow.ml.persistence import load
    from outgrow.serve.versions import ModelStore

    versions = ModelStore(store)
    number = int(model) if model.isdigit() else versions.add(load(model))
    before = versions.current
    versions.promote(number)
    _say(f"{store}: version {number} is current now" + ("" if before is None else f"; it was {before}"))


federate = typer.Typer(help="Fit a model over sites that keep their rows.", no_args_is_help=True)
app.add_typer(federate, name="federate")
JobFile = Annotated[str, typer.Argument(metavar="JOB.yaml", help="The job file, alike at all ends.")]
TlsFolder = Annotated[str | None, typer.Option("--tls", help="Folder of cert.pem, key.pem and ca.pem.")]
Secure = Annotated[bool, typer.Option("--secure", help="Hide each site's statistics behind masks.")]
Joining = Annotated[float, typer.Option(help="Seconds within which all must be there.")]
Deadline = Annotated[float, typer.Option(help="Seconds of silence after which another end is lost.")]


@federate.command("server")
def _federate_server(
    job: JobFile,
    sites: Annotated[str, typer.Option(help="Names of the sites that shall come, like north,south.")],
    listen: Annotated[str, typer.Option(help="Where they call: host:port.")] = "0.0.0.0:7070",
    tls: TlsFolder = None,
    secure: Secure = False,
    joining: Joining = 600.0,
    deadline: Deadline = 60.0,
    patience: Annotated[float, typer.Option(help="Seconds within which all must finish a pass.")] = 3600.0,
    quorum: Annotated[float, typer.Option(help="Share of the sites with which rounds go on.")] = 1.0,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Wait for the sites, lead the fit, save the model. The secret is in OUTGROW_SECRET."""
    from outgrow.job.federate import Waits, serve_federation
    from outgrow.job.load import load_job

    _let_import_beside(job)
    with _progress():
        waits = Waits(joining, deadline, patience, quorum)
        result = serve_federation(
            load_job(job), sites.split(","), listen, tls=tls, secure=secure, waits=waits, overwrite=overwrite
        )
    _say(repr(result))


@federate.command("site")
def _federate_site(
    job: JobFile,
    server: Annotated[str, typer.Option(help="The server: host:port. The only connection, and outward.")],
    name: Annotated[str, typer.Option(help="Of this site, as the server expects it.")],
    data: Annotated[str | None, typer.Option(help="A path in place of the job's data.")] = None,
    audit: Annotated[str | None, typer.Option(help="Append to this file what leaves, as JSON lines.")] = None,
    allow_value: Annotated[list[str] | None, typer.Option(help="May leave, like TextCounts; or all.")] = None,
    least_rows: Annotated[int, typer.Option(help="With fewer rows it takes no part.")] = 10,
    output: Annotated[str | None, typer.Option("-o", "--output", help="Save the model here, too.")] = None,
    overwrite: Overwrite = False,
    tls: TlsFolder = None,
    secure: Secure = False,
    joining: Joining = 600.0,
    deadline: Deadline = 60.0,
    debug: Debug = False,
) -> None:
    """Take part with the rows of this site, which stay here. The secret is in OUTGROW_SECRET."""
    from outgrow.job.federate import Waits, join_federation
    from outgrow.job.load import load_job

    _let_import_beside(job)
    model = join_federation(
        load_job(job),
        name,
        server,
        data=data,
        audit=audit,
        allow_values=True if allow_value == ["all"] else (allow_value or False),
        least_rows=least_rows,
        tls=tls,
        secure=secure,
        waits=Waits(joining, deadline),
    )
    if output is not None:
        model.save(output, overwrite=overwrite)
    _say(f"The model of all sites is fitted{'' if output is None else f' and saved in {output}'}.")


@app.command("doctor")
def _doctor(
    engine: Annotated[str | None, typer.Option(help="Also check that this Spark can be reached.")] = None,
    debug: Debug = False,
) -> None:
    """Check versions, Java, the extras, and whether Spark can be reached."""
    from outgrow.job.doctor import examine
    from outgrow.job.screen import findings_table

    findings = examine(engine)
    _console().print(findings_table(findings))
    if engine is not None and any(
        f.good is False for f in findings if f.subject.startswith(("engine", "outgrow on"))
    ):
        raise typer.Exit(USER_ERROR)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; ends the process with 0, 1 (our mistake) or 2 (the user's)."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        app(words, prog_name="outgrow")
    except KeyboardInterrupt:
        _complain("Stopped.")
        sys.exit(130)
    except Exception as error:
        if "--debug" in words:
            raise
        sys.exit(_report(error))


def _reading(
    types: list[str] | None,
    na_values: list[str] | None,
    encoding: str | None,
    sep: str | None,
    decimal: str,
) -> dict[str, Any]:
    """How text is read, as `og.read` takes it."""
    for pair in types or ():
        if "=" not in pair:
            raise typer.BadParameter(f"{pair!r} is not like zip=text.", param_hint="--type")
    pairs = [pair.rpartition("=") for pair in types or ()]
    given = {name: kind for name, _, kind in pairs}
    read = {"encoding": encoding, "sep": sep, "decimal": decimal}
    return {"types": given, "na_values": na_values or (), **read}


def _let_import_beside(job: Any) -> None:
    """Let a job name classes of modules that lie beside its file, as `python` would find them."""
    sys.path.append(str(Path(job).resolve().parent))


def _report(error: Exception) -> int:
    """Say what went wrong in one line; whose mistake it was."""
    if isinstance(error, OutgrowError):
        _complain(str(error))
        return USER_ERROR if error.user_error else INTERNAL_ERROR
    if isinstance(error, _PATH_MISTAKES):
        _complain(f"{error.strerror}: {error.filename}. Check the path.")
        return USER_ERROR
    message_lines = str(error).strip().splitlines() or ["no message"]
    _complain(f"{type(error).__name__}: {message_lines[0]} This should not happen; add --debug to see where.")
    return INTERNAL_ERROR


def _complain(message: str) -> None:
    typer.secho("Error: ", fg="red", bold=True, err=True, nl=False)
    typer.echo(message, err=True)


def _say(message: str) -> None:
    typer.echo(message)


def _console(*, stderr: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def _progress() -> Any:
    from outgrow.job.progress import show_progress

    return show_progress(_console(stderr=True))


def _show_search(outcome: SearchOutcome) -> None:
    from outgrow.job.tuning_screen import next_steps, search_table, trial_table

    console = _console()
    console.print(trial_table(outcome.result.study, outcome.result.metrics))
    console.print(search_table(outcome))
    console.print(next_steps(outcome), soft_wrap=True)


def _show_outcome(outcome: Outcome) -> None:
    from outgrow.job.screen import next_steps, score_table

    console = _console()
    console.print(score_table(outcome))
    console.print(next_steps(outcome), soft_wrap=True)
